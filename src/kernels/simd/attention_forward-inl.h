// attend: online softmax over tiles of query rows.
#pragma once

#include "kernels/simd/attention_tile-inl.h"

namespace ringflash::kernels::RF_ISA {

/// The running softmax of a tile. Logits are in units of log 2.
template <int kVecs>
struct SoftmaxTile {
  Vec maximum[kVecs];
  Vec total[kVecs];  ///< sum of 2^(logit - maximum)
  float* sum;        ///< [padded_dim][lanes]: the same sum over the values
  float* logits;     ///< [kStepKeys][lanes]; then, in their place, the weights 2^(logit - maximum)
};

/// Raises the maximum to `maximum` and rescales what was summed, which rarely happens after the first blocks.
template <int kVecs>
inline void raise_maximum(SoftmaxTile<kVecs>& state, const Vec (&maximum)[kVecs], int64_t padded_dim) {
  VecI changed{};
  for (int v = 0; v < kVecs; ++v) changed |= maximum[v] > state.maximum[v];
  int32_t any = 0;
  for (int k = 0; k < kLanes; ++k) any |= changed[k];
  if (!any) return;
  Vec factor[kVecs];
  for (int v = 0; v < kVecs; ++v) {
    factor[v] = exp2(state.maximum[v] - maximum[v]);
    state.maximum[v] = maximum[v];
    state.total[v] *= factor[v];
  }
  for (int64_t i = 0; i < padded_dim; ++i) {
    for (int v = 0; v < kVecs; ++v) {
      float* p = state.sum + (i * kVecs + v) * kLanes;
      store(p, load(p) * factor[v]);
    }
  }
}

/// Turns the logits of `count` keys, an even number, given as products to be multiplied with `scale`, into
/// weights, and adds those to the totals. A pair's weights take no more room than its logits, so they
/// overwrite logits that were read.
template <int kVecs>
[[gnu::noinline]] inline void weigh(int64_t count, float scale, SoftmaxTile<kVecs>& state) {
  constexpr int64_t kStride = kVecs * kLanes;
  for (int64_t j = 0; j < count; j += 2) {
    const float* logits = state.logits + j * kStride;
    Slot* weights = right_slot(state.logits, j, kStride);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const Vec even = exp2_weight(load(logits + v * kLanes) * scale - state.maximum[v]);
      const Vec odd = exp2_weight(load(logits + kStride + v * kLanes) * scale - state.maximum[v]);
      state.total[v] += even + odd;
      store_right(weights + v * kLanes, kStride, even, odd);
    }
  }
}

/// Takes in `count` keys of a span from block `first` on.
template <int kVecs>
inline void attend_keys(const Slot* q, float scale, const KeySpan& span, const TileView<kVecs>& view,
                        int64_t first, int64_t count, int64_t padded_dim, SoftmaxTile<kVecs>& state) {
  constexpr int64_t kStride = kVecs * kLanes;
  multiply_queries(span, view, scale, first, count, padded_dim, q, state.logits);
  Vec maximum[kVecs];
  for (int v = 0; v < kVecs; ++v) maximum[v] = load(state.logits + v * kLanes);
  for (int64_t j = 1; j < count; ++j) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      maximum[v] = max(maximum[v], load(state.logits + j * kStride + v * kLanes));
    }
  }
  for (int v = 0; v < kVecs; ++v) maximum[v] = max(state.maximum[v], maximum[v] * scale);
  raise_maximum(state, maximum, padded_dim);
  weigh(count, scale, state);
  multiply<true>(value_columns(span.rows, first), padded_dim, count / kSlotNumbers, state.logits, kStride,
                 kStride, state.sum, kStride);
}

template <int kVecs>
inline void finish_tile(const TileRows& rows, const SoftmaxTile<kVecs>& state, int64_t head_dim,
                        const AttentionOutput& output) {
  Vec factor[kVecs];
  for (int v = 0; v < kVecs; ++v) factor[v] = state.total[v] > 0.0f ? 1.0f / state.total[v] : Vec{};
  store_tile<kVecs, false>(rows, state.sum, factor, head_dim, output.token_stride, output.head_stride,
                           output.out);
  if (output.lse == nullptr) return;
  for (int64_t lane = 0; lane < rows.count; ++lane) {  // log 0 makes the -infinity of a row that sees nothing
    const float total = state.total[lane / kLanes][lane % kLanes];
    output.lse[rows.offset(lane, output.lse_token_stride, 1)] =
        kLn2 * state.maximum[lane / kLanes][lane % kLanes] + __builtin_logf(total);
  }
}

template <int kVecs>
inline void attend_tile(const QueryBlock& queries, std::span<const KeySpan> spans,
                        const AttentionOutput& output, const TileRows& rows) {
  constexpr int64_t kStride = kVecs * kLanes;
  const int64_t padded = padded_dim(queries.head_dim);
  Scratch scratch((2 * padded + kStepKeys) * kStride);
  Slot* q = scratch.take(padded * kStride);
  SoftmaxTile<kVecs> state;
  state.sum = scratch.take(padded * kStride);
  state.logits = scratch.take(kStepKeys * kStride);
  for (int v = 0; v < kVecs; ++v) {
    state.maximum[v] = broadcast(-3.4e38f);  // finite: a row that has seen nothing yet must not make NaN
    state.total[v] = Vec{};
  }
  for (int64_t i = 0; i < padded * kStride; ++i) state.sum[i] = 0.0f;
  for (const bool global : {false, true}) {
    bool loaded = false;
    for (const KeySpan& span : spans) {
      if (span.global != global) continue;
      if (!loaded) {
        load_tile<kVecs>(rows, global ? queries.q_global : queries.q,
                         global ? queries.global_token_stride : queries.token_stride, queries.head_stride,
                         queries.head_dim, padded, q);
        loaded = true;
      }
      const TileView<kVecs> view(rows, span);
      for (int64_t first = first_block_key(span); first < view.most; first += kStepKeys) {
        attend_keys(q, queries.scale * kLog2E, span, view, first / kBlockKeys,
                    computed_keys(view.most - first), padded, state);
      }
    }
  }
  finish_tile(rows, state, queries.head_dim, output);
}

inline void attend(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionOutput& output) {
  [[maybe_unused]] const ProductSession session;
  const int64_t count = queries.tokens * queries.heads;
  for (int64_t first = 0; first < count;) {
    const TileRows rows{first, smaller(count - first, kTileVecs * kLanes), queries.heads};
    if (rows.count <= kLanes) {
      attend_tile<1>(queries, spans, output, rows);
    } else {
      attend_tile<kTileVecs>(queries, spans, output, rows);
    }
    first += rows.count;
  }
}

}  // namespace ringflash::kernels::RF_ISA
