#include "bench/linear_bench.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "cli/bench_report.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kLargest = 65536, kMostRounds = 1000, kMostTokens = 8192;

class BenchLinear final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  bench::LinearBenchOptions options_{.rounds = {.rounds = 7, .limit_seconds = 0}};
  int64_t mebibytes_ = 1024;
  bool no_onednn_ = false;
};

void BenchLinear::add_options(CLI::App& app) {
  const auto size = [&](const char* name, int64_t& value, const char* help) {
    app.add_option(name, value, help)->type_name("N")->transform(whole_number(64, kLargest))->capture_default_str();
  };
  size("--in", options_.in, "Inputs of the matrix, a multiple of 64");
  size("--out", options_.out, "Outputs of the matrix");
  app.add_option("--tokens", options_.tokens, "Tokens multiplied together; 1 is a matrix-vector product")
      ->type_name("T,T,...")
      ->delimiter(',')
      ->transform(whole_number(1, kMostTokens))
      ->capture_default_str();
  app.add_option("--mebibytes", mebibytes_, "What copies of the matrix take as bf16, together: more than any cache")
      ->type_name("N")
      ->transform(whole_number(1, 65536))
      ->capture_default_str();
  app.add_option("--rounds", options_.rounds.rounds, "Times that each is measured, in turn")
      ->type_name("R")
      ->transform(whole_number(1, kMostRounds))
      ->capture_default_str();
  app.add_flag("--no-onednn", no_onednn_, "Do not compare with oneDNN");
}

Status BenchLinear::check() const {
  if (options_.in % 64 == 0) return {};
  return Error{"--in: must be a multiple of 64, not " + std::to_string(options_.in)};
}

nlohmann::ordered_json to_json(const bench::LinearRow& row) {
  return {{"name", row.name},
          {"op", row.tokens == 1 ? "matvec" : "matmul"},
          {"tokens", row.tokens},
          {"threads", row.threads},
          {"ms", rounded(row.ms)},
          {"gb_per_s", rounded(row.gb_per_s)},
          {"dram_fraction", rounded(row.dram_fraction)},
          {"speedup_vs_bf16", rounded(row.speedup_vs_bf16)},
          {"speedup_vs_q8_0", rounded(row.speedup_vs_q8_0)},
          {"speedup_vs_q4_0", rounded(row.speedup_vs_q4_0)},
          {"speedup_vs_onednn_int8", rounded(row.speedup_vs_onednn_int8)},
          {"speedup_vs_onednn_bf16", rounded(row.speedup_vs_onednn_bf16)}};
}

Status BenchLinear::run(const CommonOptions& common) {
  const int most = common.threads > 0 ? common.threads : usable_processors();
  options_.threads = {1};
  if (most > 1) options_.threads.push_back(most);
  options_.weight_bytes = mebibytes_ << 20;
  options_.onednn = !no_onednn_;
  RF_TRY(const std::vector<bench::LinearRow> rows, bench_linear(options_, remark));
  BenchReport report{.command = "bench linear",
                     .machine = describe_machine(most),
                     .settings = {{"in", options_.in}, {"out", options_.out}, {"bf16_bytes", options_.weight_bytes}},
                     .rows = {}};
  for (const bench::LinearRow& row : rows) report.rows.push_back(to_json(row));
  return write_report(report, common.json);
}

}  // namespace

std::unique_ptr<Command> make_bench_linear() {
  return std::make_unique<BenchLinear>();
}

}  // namespace ringflash::cli
