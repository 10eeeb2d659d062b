#include "bench/attention_bench.h"

#include <algorithm>

#include "base/stopwatch.h"
#include "bench/attention_check.h"
#include "bench/decode_bench.h"
#include "model/counts.h"

namespace ringflash::bench {
namespace {

/// Arithmetic per pair of query and key: q.k and p v forward; the same again and three gradients backward.
double flops_per_pair(Pass pass, int64_t head_dim) {
  switch (pass) {
    case Pass::kForward: return 4.0 * static_cast<double>(head_dim);
    case Pass::kForwardBackward: return 14.0 * static_cast<double>(head_dim);
    case Pass::kDecode: return 0;  // bounded by memory
  }
  RF_UNREACHABLE();
}

double pairs_of(const AttentionCase& attention, Variant variant, int64_t n) {
  const ModelConfig config = attention.config(variant, n);
  return static_cast<double>(attention.heads) * attention_pairs(config, config.attention.front(), n);
}

/// Whole sequences of one length: inputs, outputs, and the calls that are timed.
class Sequence {
 public:
  Sequence(const AttentionCase& attention, int64_t n, Executor& executor)
      : attention_(attention),
        n_(n),
        executor_(executor),
        inputs_(attention, n, /*seed=*/1, executor),
        out_(inputs_.q.size()),
        dq_(inputs_.q.size()),
        lse_(static_cast<size_t>(n * attention.heads)),
        dk_(inputs_.k.size()),
        dv_(inputs_.v.size()),
        drouter_(inputs_.router.size()) {}

  /// Seconds of one run.
  double run(Variant variant, Pass pass) {
    const kernels::AttentionShape shape = attention_.shape(variant, n_);
    const float* router = variant == Variant::kFull ? nullptr : inputs_.router.data();
    const int64_t bounds[] = {0, n_};
    const Stopwatch stopwatch;
    kernels::attention_forward(shape, inputs_.q.data(), inputs_.k.data(), inputs_.v.data(), router, bounds,
                               out_.data(), lse_.data(), kernels::table(), executor_);
    if (pass == Pass::kForwardBackward) {
      kernels::attention_backward(shape, inputs_.q.data(), inputs_.k.data(), inputs_.v.data(), router, bounds,
                                  out_.data(), lse_.data(), inputs_.dout.data(), dq_.data(), dk_.data(), dv_.data(),
                                  router ? drouter_.data() : nullptr, kernels::table(), executor_);
    }
    return stopwatch.seconds();
  }

  /// Of what the last run left.
  Status check(Variant variant, Pass pass) const {
    AttentionResult result{.first = 0, .out = out_, .dq = {}};
    if (pass == Pass::kForwardBackward) result.dq = dq_;
    const Status status = check_attention(attention_.shape(variant, n_), inputs_, result, kernels::table(), executor_);
    if (status) return {};
    return status.error().in(to_string(variant) + " at n = " + std::to_string(n_) + ", " + to_string(pass));
  }

  const AttentionInputs& inputs() const { return inputs_; }

 private:
  const AttentionCase& attention_;
  int64_t n_;
  Executor& executor_;
  AttentionInputs inputs_;
  AlignedVector<float> out_, dq_, lse_, dk_, dv_, drouter_;
};

class AttentionBench {
 public:
  AttentionBench(const AttentionBenchOptions& options, PeakMeter& peak, TorchPeer* torch, Executor& executor,
                 const std::function<void(std::string_view)>& remark)
      : options_(options), attention_(options.attention), peak_(peak), torch_(torch), executor_(executor),
        remark_(remark) {}

  Result<std::vector<AttentionRow>> run() {
    for (const int64_t n : options_.lengths) {
      Sequence sequence(attention_, n, executor_);
      DecodeBench decode(attention_, n, sequence.inputs(), executor_);
      for (const Pass pass : options_.passes) {
        remark_("n = " + std::to_string(n) + ", " + to_string(pass));
        if (pass == Pass::kDecode) {
          RF_TRY_VOID(run_decode(n, decode));
        } else {
          RF_TRY_VOID(run_sequence(n, pass, sequence, decode));
        }
      }
    }
    return std::move(rows_);
  }

 private:
  Status run_sequence(int64_t n, Pass pass, Sequence& sequence, const DecodeBench& decode);
  Status run_decode(int64_t n, DecodeBench& decode);
  Result<double> estimate(int64_t n, Pass pass, Variant variant);
  Status report(int64_t n, Pass pass, const std::vector<Contestant>& contestants, const DecodeBench& decode);
  AttentionRow row(int64_t n, Pass pass, const Timing& timing, const Timing& full, const DecodeBench& decode) const;

  const AttentionBenchOptions& options_;
  const AttentionCase& attention_;
  PeakMeter& peak_;
  TorchPeer* torch_;
  Executor& executor_;
  const std::function<void(std::string_view)>& remark_;
  std::vector<AttentionRow> rows_;
};

/// Seconds of one run at n, from a run at no more than 4096 tokens.
Result<double> AttentionBench::estimate(int64_t n, Pass pass, Variant variant) {
  const int64_t few = std::min<int64_t>(n, 4096);
  Sequence sequence(attention_, few, executor_);
  sequence.run(variant, pass);
  RF_TRY_VOID(sequence.check(variant, pass));
  return sequence.run(variant, pass) * pairs_of(attention_, variant, n) / pairs_of(attention_, variant, few);
}

Status AttentionBench::run_sequence(int64_t n, Pass pass, Sequence& sequence, const DecodeBench& decode) {
  std::vector<Contestant> contestants;
  for (const Variant variant : kVariants) {
    RF_TRY(const double seconds, estimate(n, pass, variant));
    const auto run_and_check = [&sequence, variant, pass, checked = false]() mutable -> Result<double> {
      const double taken = sequence.run(variant, pass);
      if (!checked) RF_TRY_VOID(sequence.check(variant, pass));
      checked = true;
      return taken;
    };
    contestants.push_back({.name = to_string(variant), .run = run_and_check, .estimate = seconds});
  }
  if (torch_ != nullptr) {
    // Torch's is full attention too, and as fast to within a factor that a time limit does not care about.
    RF_TRY_VOID(torch_->prepare(n, attention_));
    contestants.push_back({.name = "torch_sdpa",
                           .run = [this, pass] { return torch_->run(pass == Pass::kForwardBackward); },
                           .estimate = contestants.front().estimate});
  }
  return report(n, pass, contestants, decode);
}

Status AttentionBench::run_decode(int64_t n, DecodeBench& decode) {
  std::vector<Contestant> contestants;
  for (const Variant variant : kVariants) {
    if (const Status status = decode.check(variant); !status) {
      return status.error().in(to_string(variant) + " at n = " + std::to_string(n) + ", decode");
    }
    contestants.push_back(
        {.name = to_string(variant), .run = [&decode, variant] { return Result<double>(decode.run(variant)); }});
  }
  return report(n, Pass::kDecode, contestants, decode);
}

Status AttentionBench::report(int64_t n, Pass pass, const std::vector<Contestant>& contestants,
                              const DecodeBench& decode) {
  RF_TRY(const std::vector<Timing> timings, time_in_rounds(contestants, options_.rounds, [&](int round) {
           peak_.sample();
           remark_("  round " + std::to_string(round + 1) + " of " + std::to_string(options_.rounds.rounds));
         }));
  for (const Timing& timing : timings) rows_.push_back(row(n, pass, timing, timings.front(), decode));
  return {};
}

AttentionRow AttentionBench::row(int64_t n, Pass pass, const Timing& timing, const Timing& full,
                                 const DecodeBench& decode) const {
  AttentionRow result{.name = timing.name, .n = n, .pass = pass, .ms = {},
                      .speedup_vs_full = median_ratio(full, timing), .peak_fraction = {}, .cache_bytes = 0,
                      .rounds = static_cast<int>(timing.seconds.size()), .skipped = timing.skipped};
  Variant variant = Variant::kFull;  // what torch computes
  const bool ours = timing.name != "torch_sdpa";
  for (const Variant candidate : kVariants) {
    if (timing.name == to_string(candidate)) variant = candidate;
  }
  result.cache_bytes = ours ? decode.cache_bytes(variant) : torch_->cache_bytes(n, attention_);
  if (const std::optional<double> seconds = timing.median()) {
    const double flops = flops_per_pair(pass, attention_.head_dim) * pairs_of(attention_, variant, n);
    if (flops > 0) result.peak_fraction = flops / (peak_.flops_for(kernels::table().isa) * *seconds);
    result.ms = 1000 * *seconds;
  }
  return result;
}

}  // namespace

std::string to_string(Pass pass) {
  switch (pass) {
    case Pass::kForward: return "forward";
    case Pass::kForwardBackward: return "forward_backward";
    case Pass::kDecode: return "decode";
  }
  RF_UNREACHABLE();
}

Result<std::vector<AttentionRow>> bench_attention(const AttentionBenchOptions& options, PeakMeter& peak,
                                                  TorchPeer* torch, Executor& executor,
                                                  const std::function<void(std::string_view)>& remark) {
  RF_TRY_VOID(validate(options.attention));
  return AttentionBench(options, peak, torch, executor, remark).run();
}

}  // namespace ringflash::bench
