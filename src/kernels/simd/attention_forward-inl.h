// attend: online softmax over tiles of query rows.
#pragma once

#include "kernels/simd/attention_tiles-inl.h"

namespace ringflash::kernels::RF_ISA {

/// The running softmax of a tile. Logits are in units of log 2.
template <int kVecs>
struct SoftmaxTile {
  Vec maximum[kVecs];
  Vec total[kVecs];  ///< sum of 2^(logit - maximum)
  float* sum;        ///< [head_dim][lanes]: the same sum over the values
  float* weights;    ///< [kBlockKeys][lanes]: a block's logits, then 2^(logit - maximum)
};

/// Raises the maximum to `maximum` and rescales what was summed, which rarely happens after the first blocks.
template <int kVecs>
inline void raise_maximum(SoftmaxTile<kVecs>& state, const Vec (&maximum)[kVecs], int64_t head_dim) {
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
  for (int64_t i = 0; i < head_dim; ++i) {
    for (int v = 0; v < kVecs; ++v) {
      float* p = state.sum + (i * kVecs + v) * kLanes;
      store(p, load(p) * factor[v]);
    }
  }
}

/// Takes in keys [first, first + count) of a span; count <= kBlockKeys.
template <int kVecs>
inline void attend_keys(const float* q, const KeySpan& span, const TileView<kVecs>& view, int64_t first,
                        int64_t count, int64_t head_dim, SoftmaxTile<kVecs>& state) {
  multiply<kVecs>(q, head_dim, span.k + first * span.k_stride, span.k_stride, count, state.weights);
  bias_and_mask(span, view, first, count, state.weights);
  Vec maximum[kVecs];
  for (int v = 0; v < kVecs; ++v) {
    maximum[v] = state.maximum[v];
    for (int64_t j = 0; j < count; ++j)
      maximum[v] = max(maximum[v], load(state.weights + (j * kVecs + v) * kLanes));
  }
  raise_maximum(state, maximum, head_dim);
  for (int64_t j = 0; j < count; ++j) {
    for (int v = 0; v < kVecs; ++v) {
      float* p = state.weights + (j * kVecs + v) * kLanes;
      const Vec weight = exp2(load(p) - maximum[v]);
      state.total[v] += weight;
      store(p, weight);
    }
  }
  add_weighted<kVecs>(state.weights, span.v + first * span.v_stride, span.v_stride, count, head_dim,
                      state.sum);
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
  const int64_t head_dim = queries.head_dim;
  Scratch scratch((2 * head_dim + kBlockKeys) * kStride);
  float* q = scratch.take(head_dim * kStride);
  SoftmaxTile<kVecs> state;
  state.sum = scratch.take(head_dim * kStride);
  state.weights = scratch.take(kBlockKeys * kStride);
  for (int v = 0; v < kVecs; ++v) {
    state.maximum[v] = broadcast(-3.4e38f);  // finite: a row that has seen nothing yet must not make NaN
    state.total[v] = Vec{};
  }
  for (int64_t i = 0; i < head_dim * kStride; ++i) state.sum[i] = 0.0f;
  for (const bool global : {false, true}) {
    bool loaded = false;
    for (const KeySpan& span : spans) {
      if (span.global != global) continue;
      if (!loaded) {
        load_tile<kVecs>(rows, global ? queries.q_global : queries.q, queries.token_stride,
                         queries.head_stride, head_dim, queries.scale * kLog2E, q);
        loaded = true;
      }
      const TileView<kVecs> view(rows, span);
      for (int64_t first = 0; first < view.most; first += kBlockKeys) {
        attend_keys(q, span, view, first, smaller(kBlockKeys, view.most - first), head_dim, state);
      }
    }
  }
  finish_tile(rows, state, head_dim, output);
}

inline void attend(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionOutput& output) {
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
