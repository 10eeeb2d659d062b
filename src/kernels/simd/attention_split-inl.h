// attend() of one token in parts (split_attention.h).
#pragma once

#include "kernels/simd/attention_forward-inl.h"
#include "kernels/split_attention.h"

namespace ringflash::kernels::RF_ISA {

inline int64_t split_steps(std::span<const KeySpan> spans) {
  int64_t steps = 0;
  for_steps<1>(spans, TileRows(0, 1, 1), [&](const KeySpan&, const TileView<1>&, int64_t) { ++steps; });
  return steps;
}

inline void split_logits(const QueryBlock& queries, std::span<const KeySpan> spans, int64_t begin, int64_t end,
                         float* logits) {
  [[maybe_unused]] const ProductSession session;
  const int64_t padded = padded_dim(queries.head_dim);
  const TileRows rows(0, queries.heads, queries.heads);
  Scratch scratch(padded * kLanes);
  QueryTile<1> q(queries, rows, scratch.take(padded * kLanes));
  int64_t step = 0;
  for_steps<1>(spans, rows, [&](const KeySpan& span, const TileView<1>& view, int64_t first) {
    const int64_t at = step++;
    if (at < begin || at >= end) return;
    float* products = logits + at * kStepKeys * kLanes;
    clear_products<1>(rows.count, kStepKeys, products);
    q.multiply(span, view, first, products);
  });
}

inline void split_values(const QueryBlock& queries, std::span<const KeySpan> spans, const float* logits, int64_t begin,
                         int64_t end, const AttentionOutput& output) {
  [[maybe_unused]] const ProductSession session;
  const TileRows rows(0, queries.heads, queries.heads);
  const int64_t elements = padded_dim(end - begin);
  Scratch scratch((elements + kStepKeys) * kLanes);
  float* sums = scratch.take(elements * kLanes);
  SoftmaxTile<1> state(rows.count, begin, begin + elements, sums, scratch.take(kStepKeys * kLanes));
  for_steps<1>(spans, rows, [&](const KeySpan& span, const TileView<1>& view, int64_t first) {
    take_in(logits, queries.scale * kLog2E, span, first / kBlockKeys, computed_keys(view.most - first), state);
    logits += kStepKeys * kLanes;
  });
  finish_tile(rows, state, queries.head_dim, output);
}

inline constexpr SplitAttention kSplitAttention = {.lanes = kLanes,
                                                   .step_keys = kStepKeys,
                                                   .steps = split_steps,
                                                   .logits = split_logits,
                                                   .values = split_values};

}  // namespace ringflash::kernels::RF_ISA
