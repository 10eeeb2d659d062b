// attend() of one token, cut so that threads can share a KV head: logits by steps of keys, then sums by elements.
#pragma once

#include <cstdint>
#include <span>

namespace ringflash::kernels {

struct QueryBlock;
struct KeySpan;
struct AttentionOutput;

/// Both parts take the same queries, of one token and at most `lanes` heads, and spans. All in all they compute attend(), to
/// the bit. Where `lse` is wanted, the part that begins at 0 writes it.
struct SplitAttention {
  int64_t lanes;
  int64_t step_keys;  ///< of each span from its first block on

  /// Number of steps.
  int64_t (*steps)(std::span<const KeySpan> spans);
  /// The logits of steps [begin, end): each has step_keys * lanes of `logits`, which is shared by all parts.
  void (*logits)(const QueryBlock& queries, std::span<const KeySpan> spans, int64_t begin, int64_t end, float* logits);
  /// Elements [begin, end) of each head's output, from the logits of all steps; `begin` is a multiple of kSplitElements.
  void (*values)(const QueryBlock& queries, std::span<const KeySpan> spans, const float* logits, int64_t begin, int64_t end,
                 const AttentionOutput& output);
};
inline constexpr int64_t kSplitElements = 32;

}  // namespace ringflash::kernels
