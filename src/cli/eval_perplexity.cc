#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/progress.h"
#include "cli/eval_tasks.h"
#include "cli/options.h"
#include "eval/perplexity.h"

namespace ringflash::cli {
namespace {

class PerplexityTask final : public EvalTask {
 public:
  std::string name() const override { return "ppl"; }
  std::string summary() const override { return "perplexity and bits per byte of a text"; }
  bool needs_data() const override { return true; }
  void add_options(CLI::App& options) override;
  Status run(const EvalInput& input) override;

 private:
  PerplexityOptions options_;
};

void PerplexityTask::add_options(CLI::App& options) {
  options.add_option("--context", options_.context, "Tokens per window; 0 is the model's limit")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
  options
      .add_option("--overlap", options_.overlap,
                  "Tokens a window repeats, unscored, from the one before; by default half the context")
      ->type_name("N")
      ->transform(whole_number());
}

Status PerplexityTask::run(const EvalInput& input) {
  std::optional<Progress> progress;
  RF_TRY(const PerplexityReport report, evaluate_perplexity(input.model, input.executor, input.data, options_,
                                                            [&](int64_t done, int64_t total) {
                                                              if (!progress) progress.emplace("ppl", total);
                                                              progress->update(done);
                                                            }));
  progress.reset();
  if (input.json) {
    return write_json({{"ppl", report.perplexity()},
                       {"bits_per_byte", report.bits_per_byte()},
                       {"accuracy", report.accuracy()},
                       {"tokens", report.tokens},
                       {"bytes", report.bytes},
                       {"seconds", report.seconds}});
  }
  char line[160];
  std::snprintf(line, sizeof line, "perplexity %.4f, %.4f bits per byte (%lld tokens, %lld bytes, %s)\n",
                report.perplexity(), report.bits_per_byte(), static_cast<long long>(report.tokens),
                static_cast<long long>(report.bytes), format_duration(report.seconds).c_str());
  return write_stdout(line);
}

}  // namespace

std::unique_ptr<EvalTask> make_perplexity_task() {
  return std::make_unique<PerplexityTask>();
}

}  // namespace ringflash::cli
