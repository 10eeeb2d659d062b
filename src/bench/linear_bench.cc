#include "bench/linear_bench.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "base/ceil_div.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "bench/attention_case.h"
#include "bench/dram_read.h"
#include "bench/onednn_peer.h"
#include "bench/stored_matrix.h"

namespace ringflash::bench {
namespace {

constexpr const char* kDramRead = "dram_read";
constexpr double kMatmulSeconds = 0.2;  // of one measurement of a product that arithmetic limits

/// How far a product may be from the scalar reference, relative to its size. The reference rounds activations of
/// quantised weights to 8 bits, by 0.6 % of their deviation, and others not at all. Otherwise sums in fp32 of `in`
/// products that are exact or rounded once: at most in * 2^-24 of the sum of their magnitudes (docs/numerics.md).
double allowed_error(const WeightMatrix& w, int64_t tokens) {
  const kernels::Table& table = kernels::table();
  const bool bf16_weights = w.type == GgufType::kBF16;
  if (bf16_weights && table.key_type == kernels::KeyType::kBf16) return 0x1p-8;
  if (!bf16_weights && rounds_to_bf16(table, w, tokens)) return 0x1p-7;
  return std::sqrt(static_cast<double>(w.columns)) * 4 * 0x1p-24;
}

Status check_product(const WeightMatrix& w, const float* x, const float* y, int64_t tokens, Executor& executor) {
  kernels::Table reference = *kernels::available_tables().front();
  // Halves between two steps may go either way (a unit test's business): among many tokens there are some.
  reference.round_to_int8 = kernels::table().round_to_int8;
  constexpr int64_t kRows = 32;
  WeightMatrix few = w;
  few.rows = few.sparse.shape.rows = std::min(kRows, w.rows);
  RoundedTokens rounded;
  std::vector<float> expected(static_cast<size_t>(tokens * few.rows));
  const Projection projection{few, expected.data()};
  multiply(reference, executor, {&projection, 1}, x, tokens, rounded);
  double difference = 0, norm = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t o = 0; o < few.rows; ++o) {
      const double wanted = expected[static_cast<size_t>(t * few.rows + o)];
      difference += std::pow(y[t * w.rows + o] - wanted, 2);
      norm += wanted * wanted;
    }
  }
  const double allowed = allowed_error(w, tokens);
  const double error = std::sqrt(difference / norm);
  if (error <= allowed) return {};
  return Error{"the product is off by " + std::to_string(error) + " of its size, allowed are " +
               std::to_string(allowed)};
}

class LinearBench {
 public:
  LinearBench(const LinearBenchOptions& options, const std::function<void(std::string_view)>& remark)
      : options_(options), remark_(remark) {
    ThreadPool pool;
    AlignedVector<float> weights(static_cast<size_t>(options.in * options.out));
    fill_normal(weights, 1, pool);
    const int64_t bf16_bytes = 2 * options.in * options.out;
    const int64_t copies = ceil_div(options.weight_bytes, bf16_bytes);
    for (const StoredFormat format : kStoredFormats) {
      matrices_.push_back(std::make_unique<StoredMatrix>(format, weights, options.out, options.in, copies));
    }
  }

  Result<std::vector<LinearRow>> run() {
    std::vector<LinearRow> rows;
    for (const int threads : options_.threads) {
      ThreadPool pool(threads);
      for (const int64_t tokens : options_.tokens) {
        RF_TRY(std::vector<LinearRow> some, measure(tokens, threads, pool));
        rows.insert(rows.end(), some.begin(), some.end());
      }
    }
    return rows;
  }

 private:
  void multiply_once(const WeightMatrix& w, int64_t tokens, Executor& executor) {
    const Projection projection{w, y_.data()};
    multiply(kernels::table(), executor, {&projection, 1}, x_.data(), tokens, rounded_);
  }

  /// Seconds of one product, the mean over all copies (or as many as kMatmulSeconds allow).
  double time_products(const StoredMatrix& matrix, int64_t tokens, Executor& executor) {
    int64_t products = 0;
    const Stopwatch stopwatch;
    do {
      multiply_once(matrix.copy(products), tokens, executor);
      ++products;
    } while (products < matrix.copies() && (tokens == 1 || stopwatch.seconds() < kMatmulSeconds));
    return stopwatch.seconds() / static_cast<double>(products);
  }

  Result<std::vector<Contestant>> contestants(int64_t tokens, int threads, Executor& executor) {
    x_.resize(static_cast<size_t>(tokens * options_.in));
    y_.resize(static_cast<size_t>(tokens * options_.out));
    fill_normal(x_, 2, executor);
    const std::span<const std::byte> memory = matrices_.front()->all();
    std::vector<Contestant> all;
    all.push_back({kDramRead, [memory, &executor]() -> Result<double> { return time_read(memory, executor); }});
    for (const auto& matrix : matrices_) {
      multiply_once(matrix->copy(0), tokens, executor);
      if (const Status good = check_product(matrix->copy(0), x_.data(), y_.data(), tokens, executor); !good) {
        return good.error().in(to_string(matrix->format()));
      }
      all.push_back({to_string(matrix->format()), [this, &executor, tokens, m = matrix.get()]() -> Result<double> {
                       return time_products(*m, tokens, executor);
                     }});
    }
    if (options_.onednn && tokens > 1) add_onednn(tokens, threads, all);
    return all;
  }

  void add_onednn(int64_t tokens, int threads, std::vector<Contestant>& all) {
    for (const char* type : {"int8", "bf16"}) {
      const int64_t copies = std::min<int64_t>(matrices_.front()->copies(), 16);
      Result<OneDnnPeer> peer = OneDnnPeer::start(type, tokens, options_.in, options_.out, threads, copies);
      if (!peer) return remark_("no oneDNN rows (" + peer.error().message + ")");
      auto shared = std::make_shared<OneDnnPeer>(std::move(peer).value());
      remark_("oneDNN " + std::string(type) + ": " + shared->implementation());
      all.push_back({std::string("onednn_") + type, [shared] { return shared->run(); }});
    }
  }

  Result<std::vector<LinearRow>> measure(int64_t tokens, int threads, Executor& executor) {
    RF_TRY(const std::vector<Contestant> all, contestants(tokens, threads, executor));
    RF_TRY(const std::vector<Timing> timings, time_in_rounds(all, options_.rounds, [&](int round) {
             if (round == 0) remark_(std::to_string(tokens) + " tokens, threads: " + std::to_string(threads));
           }));
    std::vector<LinearRow> rows;
    for (const Timing& timing : timings) rows.push_back(row(timing, timings, tokens, threads));
    return rows;
  }

  static std::optional<double> speedup(const char* name, const Timing& timing, const std::vector<Timing>& timings) {
    const auto found = std::find_if(timings.begin(), timings.end(), [&](const Timing& t) { return t.name == name; });
    return found == timings.end() ? std::nullopt : median_ratio(*found, timing);
  }

  LinearRow row(const Timing& timing, const std::vector<Timing>& timings, int64_t tokens, int threads) const {
    LinearRow result{};
    result.name = timing.name;
    result.tokens = tokens;
    result.threads = threads;
    result.ms = 1000 * *timing.median();
    const Timing& read = timings.front();
    if (timing.name == kDramRead) {
      const double bytes = static_cast<double>(matrices_.front()->all().size());
      result.gb_per_s = bytes / *timing.median() / 1e9;
      return result;
    }
    for (const auto& matrix : matrices_) {
      if (to_string(matrix->format()) != timing.name || tokens != 1) continue;
      const double bytes = static_cast<double>(matrix->bytes());
      result.gb_per_s = bytes / *timing.median() / 1e9;
      const double share = bytes / static_cast<double>(matrices_.front()->all().size());
      result.dram_fraction = *median_ratio(read, timing) * share;
    }
    result.speedup_vs_bf16 = speedup("bf16", timing, timings);
    result.speedup_vs_q8_0 = speedup("q8_0", timing, timings);
    result.speedup_vs_q4_0 = speedup("q4_0", timing, timings);
    result.speedup_vs_onednn_int8 = speedup("onednn_int8", timing, timings);
    result.speedup_vs_onednn_bf16 = speedup("onednn_bf16", timing, timings);
    return result;
  }

  const LinearBenchOptions& options_;
  const std::function<void(std::string_view)>& remark_;
  std::vector<std::unique_ptr<StoredMatrix>> matrices_;  ///< as kStoredFormats
  AlignedVector<float> x_, y_;
  RoundedTokens rounded_;
};

}  // namespace

Result<std::vector<LinearRow>> bench_linear(const LinearBenchOptions& options,
                                            const std::function<void(std::string_view)>& remark) {
  return LinearBench(options, remark).run();
}

}  // namespace ringflash::bench
