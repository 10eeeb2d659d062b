#include "bench/prefill_bench.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "base/stopwatch.h"
#include "bench/attention_case.h"
#include "runtime/session.h"

namespace ringflash::bench {
namespace {

/// The file's weights: its ring layers stay rings, with this choice of pages, or become full like the others.
Result<Model> load_variant(const std::filesystem::path& file, Variant variant) {
  return Model::load(file, [variant](ModelConfig& config) {
    switch (variant) {
      case Variant::kFull:
        config.attention.assign(config.attention.size(), AttentionKind::kFull);
        return;
      case Variant::kRingAll:
        config.ring.select = GlobalSelect::kAll;
        return;
      case Variant::kRingTopPages:
        config.ring.select = GlobalSelect::kTopPages;
        config.ring.top_pages_run = std::min(config.ring.top_pages_run, config.ring.stride);
        return;
    }
    RF_UNREACHABLE();
  });
}

std::vector<int32_t> random_tokens(int64_t count, int64_t vocab_size) {
  Rng rng(7);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::generate(ids.begin(), ids.end(),
                [&] { return static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab_size))); });
  return ids;
}

struct Prefill {
  std::vector<float> logits;  ///< of the last token
  double seconds;
  int64_t cache_bytes;
};

Result<Prefill> prefill(const Model& model, std::span<const int32_t> ids, Executor& executor) {
  Session session(model, executor, std::ssize(ids));
  Prefill result{};
  const Stopwatch stopwatch;
  RF_TRY_VOID(session.append(ids, LogitsFor::kLast, [&](int64_t, int64_t, const float* logits) {
    result.logits.assign(logits, logits + model.config().vocab_size);
  }));
  result.seconds = stopwatch.seconds();
  result.cache_bytes = session.cache_bytes();
  if (std::all_of(result.logits.begin(), result.logits.end(), [](float x) { return std::isfinite(x); })) return result;
  return Error{"the logits after " + std::to_string(ids.size()) + " tokens are not all finite"};
}

/// Where both see the same keys, differences are roundings alone: fp32's, or those of keys kept in bf16 (2^-9 each)
/// through all layers. Keys that are missing or seen twice change much more.
Status check_same(const Prefill& found, const Prefill& expected) {
  constexpr double kAllowed = 0x1p-5;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.logits.size(); ++i) {
    difference += std::pow(found.logits[i] - expected.logits[i], 2);
    norm += std::pow(expected.logits[i], 2);
  }
  const double error = std::sqrt(difference / norm);
  if (error <= kAllowed) return {};
  return Error{"the logits of a prompt that is all local are off by " + std::to_string(error) + ", allowed are " +
               std::to_string(kAllowed)};
}

class PrefillBench {
 public:
  PrefillBench(std::vector<Model> models, const RoundOptions& options, Executor& executor,
               const std::function<void(std::string_view)>& remark)
      : models_(std::move(models)), options_(options), executor_(executor), remark_(remark) {}

  Result<std::vector<PrefillRow>> run(int64_t n) {
    const std::vector<int32_t> ids = random_tokens(n, models_.front().config().vocab_size);
    RF_TRY_VOID(check(ids));
    std::vector<int64_t> bytes(models_.size());
    std::vector<Contestant> contestants;
    for (size_t i = 0; i < models_.size(); ++i) {
      const auto run_one = [this, &ids, &bytes, i]() -> Result<double> {
        RF_TRY(const Prefill done, prefill(models_[i], ids, executor_));
        bytes[i] = done.cache_bytes;
        return done.seconds;
      };
      contestants.push_back({to_string(kVariants[i]), run_one, seconds_per_token_ * static_cast<double>(n)});
    }
    RF_TRY(const std::vector<Timing> timings, time_in_rounds(contestants, options_, [&](int round) {
             remark_("n = " + std::to_string(n) + ", round " + std::to_string(round + 1) + " of " +
                     std::to_string(options_.rounds));
           }));
    std::vector<PrefillRow> rows;
    for (size_t i = 0; i < timings.size(); ++i) rows.push_back(row(n, timings[i], timings.front(), bytes[i]));
    return rows;
  }

 private:
  Status check(std::span<const int32_t> ids) {
    const RingGeometry& ring = models_.front().config().ring;
    const auto few = std::min<size_t>(ids.size(), static_cast<size_t>(ring.window + ring.stride));
    RF_TRY(const Prefill full, prefill(models_.front(), ids.first(few), executor_));
    for (size_t i = 1; i < models_.size(); ++i) {
      RF_TRY(const Prefill found, prefill(models_[i], ids.first(few), executor_));
      if (const Status same = check_same(found, full); !same) return same.error().in(to_string(kVariants[i]));
    }
    seconds_per_token_ = full.seconds / static_cast<double>(few);
    return {};
  }

  static PrefillRow row(int64_t n, const Timing& timing, const Timing& full, int64_t cache_bytes) {
    PrefillRow result{.name = timing.name, .n = n, .ms = {}, .tokens_per_s = {},
                      .speedup_vs_full = median_ratio(full, timing), .cache_bytes = cache_bytes,
                      .rounds = static_cast<int>(timing.seconds.size()), .skipped = timing.skipped};
    if (const std::optional<double> seconds = timing.median()) {
      result.ms = 1000 * *seconds;
      result.tokens_per_s = static_cast<double>(n) / *seconds;
    }
    return result;
  }

  std::vector<Model> models_;  ///< as kVariants
  const RoundOptions& options_;
  Executor& executor_;
  const std::function<void(std::string_view)>& remark_;
  double seconds_per_token_ = 0;  ///< of a short prompt: long ones take no less
};

}  // namespace

Result<std::vector<PrefillRow>> bench_prefill(const std::filesystem::path& file, const std::vector<int64_t>& lengths,
                                              const RoundOptions& options, Executor& executor,
                                              const std::function<void(std::string_view)>& remark) {
  std::vector<Model> models;
  for (const Variant variant : kVariants) {
    RF_TRY(Model model, load_variant(file, variant));
    models.push_back(std::move(model));
  }
  const auto& kinds = models[1].config().attention;
  if (std::count(kinds.begin(), kinds.end(), AttentionKind::kRing) == 0) {
    return Error{file.string() + ": all of its layers are full: there is nothing to compare"};
  }
  PrefillBench bench(std::move(models), options, executor, remark);
  std::vector<PrefillRow> rows;
  for (const int64_t n : lengths) {
    RF_TRY(std::vector<PrefillRow> of_length, bench.run(n));
    rows.insert(rows.end(), of_length.begin(), of_length.end());
  }
  return rows;
}

}  // namespace ringflash::bench
