#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "eval/perplexity.h"

namespace ringflash::cli {
namespace {

/// A thing to measure; each prints its own report.
struct Task {
  const char* name;
  Status (*run)(const Model& model, Executor& executor, std::string_view data,
                const PerplexityOptions& options, bool json);
};

Status run_perplexity(const Model& model, Executor& executor, std::string_view text,
                      const PerplexityOptions& options, bool json) {
  std::optional<Progress> progress;
  RF_TRY(const PerplexityReport report,
         evaluate_perplexity(model, executor, text, options, [&](int64_t done, int64_t total) {
           if (!progress) progress.emplace("ppl", total);
           progress->update(done);
         }));
  progress.reset();
  if (json) {
    return write_json({{"ppl", report.perplexity()},
                       {"bits_per_byte", report.bits_per_byte()},
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

constexpr Task kTasks[] = {{"ppl", run_perplexity}};

class EvalCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  const Task* find_task() const;

  std::string model_file_, task_, data_file_;
  PerplexityOptions perplexity_;
};

void EvalCommand::add_options(CLI::App& app) {
  app.add_option("MODEL", model_file_, "GGUF file")->type_name("FILE")->required();
  app.add_option("--task", task_, "What to measure: ppl (perplexity and bits per byte)")
      ->type_name("NAME")
      ->required();
  app.add_option("--data", data_file_, "File to measure it on; ppl: a text")->type_name("FILE")->required();
  app.add_option("--context", perplexity_.context, "Tokens per window; 0 is the model's limit")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
  app.add_option("--overlap", perplexity_.overlap,
                 "Tokens a window repeats, unscored, from the one before; by default half the context")
      ->type_name("N")
      ->transform(whole_number());
}

const Task* EvalCommand::find_task() const {
  for (const Task& task : kTasks) {
    if (task_ == task.name) return &task;
  }
  return nullptr;
}

Status EvalCommand::check() const {
  if (find_task() != nullptr) return {};
  std::string names;
  for (const Task& task : kTasks) names += std::string(names.empty() ? "" : ", ") + task.name;
  return Error{"--task: '" + task_ + "' is none of the tasks there are: " + names};
}

Status EvalCommand::run(const CommonOptions& common) {
  RF_TRY(const MappedFile data, MappedFile::open(data_file_));
  if (data.text().empty()) return Error{data_file_ + ": the file is empty: there is nothing to measure"};
  RF_TRY(const Model model, Model::load(model_file_));
  ThreadPool pool(common.threads);
  return find_task()->run(model, pool, data.text(), perplexity_, common.json);
}

}  // namespace

std::unique_ptr<Command> make_eval_command() {
  return std::make_unique<EvalCommand>();
}

}  // namespace ringflash::cli
