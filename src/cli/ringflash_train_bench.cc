#include "cli/ringflash_train_bench.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <memory>

#include "base/thread_pool.h"
#include "bench/onednn_peer.h"
#include "cli/bench_report.h"
#include "model/counts.h"
#include "model/presets.h"
#include "train/bench_cases.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kMostTokens = 1 << 16, kMostWidth = 1 << 14;
constexpr const char* kLimit = "ONEDNN_MAX_CPU_ISA";

/// The median of runs in a row, as a training step has them: threads are awake and caches as warm as they get. The first,
/// which finds neither, does not count.
template <typename Run>
Result<double> run_in_a_row(Run&& run) {
  constexpr double kLeastSeconds = 0.1;
  RF_TRY_VOID(run());
  std::vector<double> all;
  for (double total = 0; total < kLeastSeconds || all.size() < 3; total += all.back()) {
    RF_TRY(const double seconds, run());
    all.push_back(seconds);
  }
  return bench::median(std::move(all));
}

/// oneDNN's dense bf16 forward, input gradient and weight gradient of one layer, weights packed beforehand.
class DenseLayer {
 public:
  static Result<std::shared_ptr<DenseLayer>> start(int64_t width, int64_t tokens, int threads) {
    auto layer = std::make_shared<DenseLayer>();
    RF_TRY(bench::OneDnnPeer forward, bench::OneDnnPeer::start("bf16_bf16", tokens, width, width, threads, 1));
    layer->implementation = forward.implementation();
    layer->products_.push_back(std::move(forward));
    RF_TRY(bench::OneDnnPeer input, bench::OneDnnPeer::start("bf16_bf16", tokens, width, width, threads, 1));
    layer->products_.push_back(std::move(input));
    RF_TRY(bench::OneDnnPeer weight, bench::OneDnnPeer::start("bf16", width, tokens, width, threads, 1));
    layer->products_.push_back(std::move(weight));
    return layer;
  }

  Result<double> run() {
    double seconds = 0;
    for (bench::OneDnnPeer& product : products_) {
      RF_TRY(const double each, run_in_a_row([&] { return product.run(); }));
      seconds += each;
    }
    return seconds;
  }

  std::string implementation;

 private:
  std::vector<bench::OneDnnPeer> products_;
};

/// Adds oneDNN as it chooses to be, or limited to `isa`. Where it is missing, a remark.
void add_dense(int64_t width, int64_t tokens, int threads, const char* isa,
               std::vector<bench::Contestant>& contestants) {
  const char* before = std::getenv(kLimit);
  const std::string old = before != nullptr ? before : "";
  if (isa != nullptr) ::setenv(kLimit, isa, /*overwrite=*/1);
  const Result<std::shared_ptr<DenseLayer>> dense = DenseLayer::start(width, tokens, threads);
  before != nullptr ? ::setenv(kLimit, old.c_str(), 1) : ::unsetenv(kLimit);
  if (!dense) return remark("no comparison with oneDNN: " + dense.error().message);
  const std::shared_ptr<DenseLayer> layer = *dense;
  contestants.push_back({layer->implementation, [layer] { return layer->run(); }});
}

nlohmann::ordered_json to_row(const char* name, int threads, int64_t in, int64_t out, int64_t tokens, int64_t sequence) {
  const auto or_null = [](int64_t value) { return value > 0 ? nlohmann::ordered_json(value) : nullptr; };
  return {{"name", name},          {"threads", threads},    {"in", or_null(in)}, {"out", or_null(out)},
          {"tokens", tokens}, {"seq", or_null(sequence)}};
}

void add_times(const bench::Timing& ours, const bench::Timing* dense, const bench::Timing* no_amx,
               nlohmann::ordered_json& row) {
  const auto ms = [](const bench::Timing* timing) -> std::optional<double> {
    if (timing == nullptr || !timing->median()) return std::nullopt;
    return 1e3 * *timing->median();
  };
  const auto ratio = [&](const bench::Timing* timing) {
    return timing != nullptr ? bench::median_ratio(*timing, ours) : std::nullopt;
  };
  row["ms"] = rounded(ms(&ours));
  row["dense"] = dense != nullptr ? nlohmann::ordered_json(dense->name) : nullptr;
  row["dense_ms"] = rounded(ms(dense));
  row["speedup_vs_dense"] = rounded(ratio(dense));
  row["speedup_vs_avx512_bf16"] = rounded(ratio(no_amx));
}

Result<nlohmann::ordered_json> measure_layer(int64_t width, int64_t tokens, int64_t keep, int threads,
                                             const bench::RoundOptions& rounds) {
  RF_TRY(const BenchCase sparse, block_linear_case(width, width, tokens, keep, threads));
  std::vector<bench::Contestant> contestants = {
      {"block", [sparse] { return run_in_a_row([&]() -> Result<double> { return sparse(); }); }}};
  add_dense(width, tokens, threads, nullptr, contestants);
  if (std::getenv(kLimit) == nullptr) add_dense(width, tokens, threads, "AVX512_CORE_BF16", contestants);
  RF_TRY(const std::vector<bench::Timing> times, bench::time_in_rounds(contestants, rounds, [](int) {}));
  nlohmann::ordered_json row = to_row("block_linear", threads, width, width, tokens, 0);
  add_times(times[0], times.size() > 1 ? &times[1] : nullptr, times.size() > 2 ? &times[2] : nullptr, row);
  return row;
}

Result<nlohmann::ordered_json> measure_step(ModelConfig model, int64_t sequence, int64_t keep, int threads,
                                            const bench::RoundOptions& rounds) {
  model.ring = ring_preset(sequence);
  model.sparsity = {.pattern = SparsePattern::kBlock, .keep = keep};
  RF_TRY(const BenchCase sparse, training_step_case(model, sequence, threads));
  RF_TRY(const BenchCase dense, training_step_case(dense_twin(model), sequence, threads));
  const std::vector<bench::Contestant> contestants = {
      {"block and ring", [sparse]() -> Result<double> { return sparse(); }},
      {"dense twin with full attention", [dense]() -> Result<double> { return dense(); }}};
  RF_TRY(const std::vector<bench::Timing> times, bench::time_in_rounds(contestants, rounds, [](int) {}));
  nlohmann::ordered_json row = to_row("step", threads, 0, 0, sequence, sequence);
  add_times(times[0], &times[1], nullptr, row);
  return row;
}

}  // namespace

void BenchTrainCommand::add_options(CLI::App& app) {
  app.add_option("--width", widths_, "Inputs and outputs of the linear layers, multiples of 64")
      ->type_name("N,N,...")
      ->delimiter(',')
      ->transform(whole_number(64, kMostWidth))
      ->capture_default_str();
  const auto number = [&](const char* name, int64_t& value, int64_t most, const char* help) {
    app.add_option(name, value, help)->type_name("N")->transform(whole_number(1, most))->capture_default_str();
  };
  number("--tokens", tokens_, kMostTokens, "Tokens that a linear layer sees");
  number("--keep", keep_, 64, "Of 64 weights, how many are there");
  number("--seq", sequence_, kMostTokens, "Tokens of a training step");
  app.add_option("--preset", preset_, "Shape of the model whose step is timed")->capture_default_str();
  app.add_option("--what", what_, "linear, step or all")
      ->check(CLI::IsMember({"linear", "step", "all"}))
      ->capture_default_str();
  app.add_option("--rounds", rounds_.rounds, "Times that each is measured, in turn")
      ->type_name("R")
      ->transform(whole_number(1, 1000))
      ->capture_default_str();
  app.footer("Example:\n  ringflash bench train --threads 2 --json");
}

Status BenchTrainCommand::run(const CommonOptions& common) {
  RF_TRY(const ModelConfig model, preset_config(preset_));
  const int most = common.threads > 0 ? common.threads : usable_processors();
  std::vector<int> threads = {1};
  if (most > 1) threads.push_back(most);
  BenchReport report{.command = "bench train",
                     .machine = describe_machine(most),
                     .settings = {{"keep_of_64", keep_}, {"preset", preset_}, {"rounds", rounds_.rounds}},
                     .rows = {}};
  for (const int count : threads) {
    if (what_ == "step") break;
    for (const int64_t width : widths_) {
      RF_TRY(const auto row, measure_layer(width, tokens_, keep_, count, rounds_));
      report.rows.push_back(row);
    }
  }
  if (what_ != "linear") {
    RF_TRY(const auto row, measure_step(model, sequence_, keep_, most, rounds_));
    report.rows.push_back(row);
  }
  return write_report(report, common.json);
}

}  // namespace ringflash::cli
