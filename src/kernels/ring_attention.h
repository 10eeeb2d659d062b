// Ring attention over whole packed sequences, forward and backward (DESIGN section 3). This file turns the
// geometry into spans of keys; the arithmetic is kernels.h's attend and attend_backward.
//
// Packed layout: `tokens` rows hold documents one after another. Document d is rows [bounds[d], bounds[d+1]),
// with positions and chunks counted from its own start, and sees nothing of the others.
#pragma once

#include <cstdint>
#include <span>

#include "base/aligned.h"
#include "base/executor.h"
#include "kernels/kernels.h"
#include "model/config.h"

namespace ringflash::kernels {

struct AttentionShape {
  int64_t tokens, heads, key_value_heads, head_dim;
  RopeParameters rope;
  AttentionKind kind;
  AttentionMode mode = AttentionMode::kCausal;
  RingGeometry ring;           ///< read when kind is kRing
  int64_t sliding_window = 0;  ///< read when kind is kSliding
  /// Rows before this one have keys and no queries: q, out, lse and their gradients begin with it. Of keys that no query
  /// sees only the router's scores are read, and their gradients are zero.
  int64_t first_query = 0;
};

/// Chooses the page of one complete chunk for one KV head: the page_tokens() positions with the highest
/// router score r, ties to the earlier position, in ascending order. `scores` has one entry per token of the
/// chunk, `stride` apart; `page` receives offsets within the chunk.
void select_page(const float* scores, int64_t score_stride, const RingGeometry& ring,
                 std::span<int32_t> page);

/// The bias log sigma(r) of a global key's logits, for a finite score of any size.
float router_bias(float score);

/// Attention over each document, rotation included. Inputs are rounded to the table's key_type.
///   q [tokens - first_query, heads, head_dim], k and v [tokens, key_value_heads, head_dim], unrotated, contiguous
///   router [tokens, key_value_heads]: r; null for full layers and for global_ratio 0
///   bounds: document edges, bounds.front() = 0, bounds.back() = tokens, ascending
///   out as q; lse [tokens - first_query, heads]
/// A causal ring layer without router (global_ratio 0) still sees its sinks, with no bias. In a bidirectional one
/// there are no sinks, and the tokens of pages see all positions: those outside the band with the bias
/// log sigma(r) of the query.
void attention_forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                       const float* router, std::span<const int64_t> bounds, float* out, float* lse,
                       const Table& table, Executor& executor);

/// Gradients of attention_forward; dq, dk, dv, drouter are overwritten. Deterministic for any executor.
void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* router, std::span<const int64_t> bounds, const float* out,
                        const float* lse, const float* dout, float* dq, float* dk, float* dv, float* drouter,
                        const Table& table, Executor& executor);

}  // namespace ringflash::kernels
