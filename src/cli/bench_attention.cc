#include "base/thread_pool.h"
#include "bench/attention_bench.h"
#include "cli/bench_report.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kMostHeads = 1024, kMostRounds = 1000;

class BenchAttention final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  bench::AttentionBenchOptions options() const;
  BenchReport report(const std::vector<bench::AttentionRow>& rows, const bench::PeakMeter& peak, int threads,
                     const std::string& torch_version) const;

  bench::AttentionBenchOptions options_;
  RingOptions ring_;
  std::string pass_ = "all";
  bool full_ = false, no_torch_ = false;
};

void BenchAttention::add_options(CLI::App& app) {
  const auto heads = [&](const char* name, int64_t& value, const char* help, int64_t most) {
    app.add_option(name, value, help)->type_name("N")->transform(whole_number(1, most))->capture_default_str();
  };
  add_lengths(app, options_.lengths);
  heads("--heads", options_.attention.heads, "Query heads", kMostHeads);
  heads("--kv-heads", options_.attention.key_value_heads, "Key and value heads", kMostHeads);
  heads("--head-dim", options_.attention.head_dim, "Numbers in a head's vector", kMostHeads);
  add_ring_options(app, ring_);
  app.add_option("--pass", pass_, "forward, forward_backward, decode or all")->type_name("NAME")->capture_default_str();
  app.add_option("--rounds", options_.rounds.rounds, "Times that each is measured, in turn")
      ->type_name("R")
      ->transform(whole_number(1, kMostRounds))
      ->capture_default_str();
  app.add_flag("--full", full_, "Also measure what would take more than a minute");
  app.add_flag("--no-torch", no_torch_, "Do not look for torch");
}

bench::AttentionBenchOptions BenchAttention::options() const {
  bench::AttentionBenchOptions options = options_;
  ring_.apply(options.attention.ring);
  if (full_) options.rounds.limit_seconds = 0;
  if (pass_ == "all") return options;
  options.passes.clear();
  for (const bench::Pass pass : bench::kPasses) {
    if (pass_ == bench::to_string(pass)) options.passes.push_back(pass);
  }
  return options;
}

Status BenchAttention::check() const {
  if (options().passes.empty()) {
    return Error{"--pass: must be forward, forward_backward, decode or all, not '" + pass_ + "'"};
  }
  return validate(options().attention);
}

nlohmann::ordered_json to_json(const bench::AttentionRow& row) {
  return {{"name", row.name},
          {"n", row.n},
          {"pass", bench::to_string(row.pass)},
          {"ms", rounded(row.ms)},
          {"speedup_vs_full", rounded(row.speedup_vs_full)},
          {"peak_fraction", rounded(row.peak_fraction)},
          {"cache_bytes", row.cache_bytes},
          {"rounds", row.rounds},
          {"skipped", row.skipped.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(row.skipped)}};
}

BenchReport BenchAttention::report(const std::vector<bench::AttentionRow>& rows, const bench::PeakMeter& peak,
                                   int threads, const std::string& torch_version) const {
  const bench::AttentionCase attention = options().attention;
  BenchReport report{.command = "bench attention", .machine = describe_machine(threads), .settings = {}, .rows = {}};
  report.machine["peak_gflops"] = describe_peaks(peak);
  if (!torch_version.empty()) report.machine["torch"] = torch_version;
  report.settings = {{"heads", attention.heads},
                     {"kv_heads", attention.key_value_heads},
                     {"head_dim", attention.head_dim},
                     {"ring", cli::to_json(attention.ring)}};
  for (const bench::AttentionRow& row : rows) report.rows.push_back(to_json(row));
  return report;
}

Status BenchAttention::run(const CommonOptions& common) {
  ThreadPool pool(common.threads);
  bench::PeakMeter peak(pool);
  std::optional<bench::TorchPeer> torch;
  if (!no_torch_) {
    Result<bench::TorchPeer> started = bench::TorchPeer::start(pool.concurrency());
    if (started) {
      torch.emplace(std::move(started).value());
    } else {
      remark("no torch_sdpa row (" + started.error().message +
             "): set RINGFLASH_PYTHON to a python3 that has torch 2.5 or newer (pip install torch)");
    }
  }
  RF_TRY(const std::vector<bench::AttentionRow> rows,
         bench_attention(options(), peak, torch ? &*torch : nullptr, pool, remark));
  return write_report(report(rows, peak, pool.concurrency(), torch ? torch->version() : ""), common.json);
}

}  // namespace

std::unique_ptr<Command> make_bench_attention() {
  return std::make_unique<BenchAttention>();
}

}  // namespace ringflash::cli
