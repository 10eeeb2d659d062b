// `ringflash bench attention`: ring attention against exact full attention, ours and torch's.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "bench/attention_case.h"
#include "bench/peak.h"
#include "bench/rounds.h"
#include "bench/torch_peer.h"

namespace ringflash::bench {

enum class Pass { kForward, kForwardBackward, kDecode };
inline constexpr Pass kPasses[] = {Pass::kForward, Pass::kForwardBackward, Pass::kDecode};

/// "forward", "forward_backward", "decode".
std::string to_string(Pass pass);

struct AttentionBenchOptions {
  AttentionCase attention;
  std::vector<int64_t> lengths = {8192, 40960, 131072};
  std::vector<Pass> passes = {std::begin(kPasses), std::end(kPasses)};
  RoundOptions rounds;
};

/// One line of the report. ms is of one layer: a whole sequence of n tokens, or for decode the token at n - 1.
struct AttentionRow {
  std::string name;  ///< a Variant, or "torch_sdpa"
  int64_t n;
  Pass pass;
  std::optional<double> ms, speedup_vs_full, peak_fraction;
  int64_t cache_bytes;  ///< that the layer's cache holds at n
  int rounds;           ///< that ms is the median of
  std::string skipped;  ///< why ms is missing
};

/// Measures all lengths and passes. Each variant's result is checked against the reference (sampled rows) before it is
/// timed; a result that is off is an error. `torch` may be null; one that fails is an error too. `remark` gets a line
/// now and then.
Result<std::vector<AttentionRow>> bench_attention(const AttentionBenchOptions& options, PeakMeter& peak,
                                                  TorchPeer* torch, Executor& executor,
                                                  const std::function<void(std::string_view)>& remark);

}  // namespace ringflash::bench
