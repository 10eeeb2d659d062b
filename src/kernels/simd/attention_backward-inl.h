// attend_backward: with p = softmax(logits) rebuilt from lse,
//   dv_u = sum_t p_tu dout_t
//   dlogit_tu = p_tu (dout_t . v_u - dout_t . out_t)
//   dq_t = scale sum_u dlogit_tu k_u,  dk_u = scale sum_t dlogit_tu q_t,  dbias_u = sum_t dlogit_tu.
#pragma once

#include "kernels/simd/attention_tile-inl.h"

namespace ringflash::kernels::RF_ISA {

/// A tile of rows in the layouts that the products want.
template <int kVecs>
struct GradTile {
  int64_t padded_dim;
  float scale, log2_scale;  ///< of the logits, and of those in units of log 2
  Vec lse[kVecs];           ///< in units of log 2; huge where the row saw nothing, so that p = 0
  Vec dout_dot_out[kVecs];
  Slot *q, *dout;            ///< right factors summed over elements
  Slot *q_rows, *dout_rows;  ///< right factors summed over rows
  float* dq;                 ///< [padded_dim][lanes]
  float *p, *dlogit;  ///< [kStepKeys][lanes]; then, in their place, left factors with a key in each row,
                      ///< dlogit times scale
  Slot* dlogit_keys;  ///< the latter as a right factor summed over keys; in fp32 the same
};

/// The gradients of a pair of keys' logits, in all the layouts. What they sum to over the keys is added to
/// query_sum, and over the lanes of each vector to key_sum.
template <int kVecs>
inline void weigh_pair(const GradTile<kVecs>& tile, int64_t j, Vec (&query_sum)[kVecs], Vec (&key_sum)[2]) {
  constexpr int64_t kStride = kVecs * kLanes;
  Vec p[2][kVecs], dlogit[2][kVecs];
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = (j + k) * kStride + v * kLanes;
      p[k][v] = exp2_weight(load(tile.p + at) * tile.log2_scale - tile.lse[v]);
      dlogit[k][v] = p[k][v] * (load(tile.dlogit + at) - tile.dout_dot_out[v]);
      query_sum[v] += dlogit[k][v];
      key_sum[k] += dlogit[k][v];
      dlogit[k][v] *= tile.scale;
    }
  }
  if constexpr (kSlotNumbers == 1) {  // both factors are the same
    for (int k = 0; k < 2; ++k) {
      for (int v = 0; v < kVecs; ++v) {
        store(tile.p + (j + k) * kStride + v * kLanes, p[k][v]);
        store(tile.dlogit + (j + k) * kStride + v * kLanes, dlogit[k][v]);
      }
    }
  } else {
    Slot* keys = right_slot(tile.dlogit_keys, j, kStride);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) store_right(keys + v * kLanes, kStride, dlogit[0][v], dlogit[1][v]);
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
      const int64_t row = (j + k) * kStride / kSlotNumbers;
#pragma GCC unroll 2
      for (int v = 0; v < kVecs; v += 2) {
        store_left(tile.p + row + v / 2 * kLanes, p[k][v], p[k][v + 1]);
        store_left(tile.dlogit + row + v / 2 * kLanes, dlogit[k][v], dlogit[k][v + 1]);
      }
    }
  }
}

/// The same for all keys of a step, with the gradients of their biases.
template <int kVecs>
inline void weigh_keys(const GradTile<kVecs>& tile, const KeySpan& span, float* dbias, int64_t first,
                       int64_t count, Vec (&query_sum)[kVecs]) {
  for (int64_t j = 0; j < count; j += 2) {
    Vec key_sum[2] = {};
    weigh_pair(tile, j, query_sum, key_sum);
    if (dbias == nullptr) continue;
    for (int64_t key = larger(first + j, span.begin); key < smaller(first + j + 2, span.end); ++key) {
      dbias[key] += sum(key_sum[key - first - j]);
    }
  }
}

/// Takes in `count` keys of a span from block `first` on.
template <int kVecs>
inline void backward_keys(const GradTile<kVecs>& tile, const KeySpan& span, const TileView<kVecs>& view,
                          int64_t first, int64_t count, const KeySpanGrad& grad, Vec (&query_sum)[kVecs]) {
  constexpr int64_t kStride = kVecs * kLanes;
  const int64_t padded = tile.padded_dim;
  multiply_queries(span, view, tile.log2_scale, first, count, padded, tile.q, tile.p);
  multiply_keys<kVecs>(span.swapped, first, count, padded, tile.dout, tile.dlogit);
  weigh_keys(tile, span, grad.dbias, first * kBlockKeys, count, query_sum);
  multiply<true>(value_columns(span.swapped, first), padded, count / kSlotNumbers, tile.dlogit_keys, kStride,
                 kStride, tile.dq, kStride);
  const int64_t row = kStride / kSlotNumbers, rows = first * kBlockKeys * padded;
  multiply<true>({tile.p, row, kPanelSlots}, count, row, tile.dout_rows, padded, padded, grad.dv + rows,
                 padded);
  multiply<true>({tile.dlogit, row, kPanelSlots}, count, row, tile.q_rows, padded, padded, grad.dk + rows,
                 padded);
}

/// Loads what all spans share.
template <int kVecs>
inline void load_output_gradient(const TileRows& rows, const AttentionGradInput& input, int64_t head_dim,
                                 GradTile<kVecs>& tile) {
  load_tile<kVecs>(rows, input.dout, input.token_stride, input.head_stride, head_dim, tile.padded_dim,
                   tile.dout);
  load_rows<kVecs>(rows, input.dout, input.token_stride, input.head_stride, head_dim, tile.padded_dim,
                   tile.dout_rows);
  for (int64_t lane = 0; lane < kVecs * kLanes; ++lane) {
    float lse = -__builtin_inff(), dot = 0.0f;
    if (lane < rows.count) {
      lse = input.lse[rows.offset(lane, input.lse_token_stride, 1)];
      const int64_t row = rows.offset(lane, input.token_stride, input.head_stride);
      Vec products{};
      for (int64_t i = 0; i < head_dim; i += kLanes) {
        // Rounded as in dout . v, so that where a query sees one key alone the two cancel.
        products += rounded(load_partial(input.dout + row + i, head_dim - i)) *
                    load_partial(input.out + row + i, head_dim - i);
      }
      dot = sum(products);
    }
    tile.lse[lane / kLanes][lane % kLanes] = lse == -__builtin_inff() ? 3.4e38f : kLog2E * lse;
    tile.dout_dot_out[lane / kLanes][lane % kLanes] = dot;
  }
}

/// A whole span, by the kind of query that the tile has loaded.
template <int kVecs>
inline void backward_span(const GradTile<kVecs>& tile, const TileRows& rows, const KeySpan& span,
                          const KeySpanGrad& grad) {
  const TileView<kVecs> view(rows, span);
  Vec query_sum[kVecs] = {};
  for (int64_t first = first_block_key(span); first < view.most; first += kStepKeys) {
    backward_keys(tile, span, view, first / kBlockKeys, computed_keys(view.most - first), grad, query_sum);
  }
  if (grad.dquery_bias == nullptr) return;
  for (int64_t lane = 0; lane < rows.count; ++lane) {
    grad.dquery_bias[rows.token(lane)] += query_sum[lane / kLanes][lane % kLanes];
  }
}

template <int kVecs>
inline void backward_tile(const QueryBlock& queries, std::span<const KeySpan> spans,
                          const AttentionGradInput& input, const QueryGrad& query_grad,
                          std::span<const KeySpanGrad> grads, const TileRows& rows) {
  constexpr int64_t kStride = kVecs * kLanes;
  const int64_t head_dim = queries.head_dim, padded = padded_dim(head_dim);
  Scratch scratch((5 * padded + 3 * kStepKeys) * kStride);
  GradTile<kVecs> tile{.padded_dim = padded,
                       .scale = queries.scale,
                       .log2_scale = queries.scale * kLog2E,
                       .lse = {},
                       .dout_dot_out = {},
                       .q = scratch.take(padded * kStride),
                       .dout = scratch.take(padded * kStride),
                       .q_rows = scratch.take(padded * kStride),
                       .dout_rows = scratch.take(padded * kStride),
                       .dq = scratch.take(padded * kStride),
                       .p = scratch.take(kStepKeys * kStride),
                       .dlogit = scratch.take(kStepKeys * kStride),
                       .dlogit_keys = nullptr};
  tile.dlogit_keys = kSlotNumbers == 1 ? tile.dlogit : scratch.take(kStepKeys * kStride);
  load_output_gradient(rows, input, head_dim, tile);
  Vec one[kVecs];
  for (Vec& factor : one) factor = broadcast(1.0f);
  for (const bool global : {false, true}) {
    const float* q = global ? queries.q_global : queries.q;
    const int64_t token_stride = global ? queries.global_token_stride : queries.token_stride;
    bool loaded = false;
    for (size_t i = 0; i < spans.size(); ++i) {
      if (spans[i].global != global) continue;
      if (!loaded) {
        load_tile<kVecs>(rows, q, token_stride, queries.head_stride, head_dim, padded, tile.q);
        load_rows<kVecs>(rows, q, token_stride, queries.head_stride, head_dim, padded, tile.q_rows);
        for (int64_t k = 0; k < padded * kStride; ++k) tile.dq[k] = 0.0f;
        loaded = true;
      }
      backward_span(tile, rows, spans[i], grads[i]);
    }
    if (loaded) {
      store_tile<kVecs, true>(rows, tile.dq, one, head_dim, query_grad.token_stride, query_grad.head_stride,
                              global ? query_grad.dq_global : query_grad.dq);
    }
  }
}

inline void attend_backward(const QueryBlock& queries, std::span<const KeySpan> spans,
                            const AttentionGradInput& input, const QueryGrad& query_grad,
                            std::span<const KeySpanGrad> grads) {
  [[maybe_unused]] const ProductSession session;
  const int64_t count = queries.tokens * queries.heads;
  for (int64_t first = 0; first < count;) {
    const TileRows rows{first, smaller(count - first, kTileVecs * kLanes), queries.heads};
    if (rows.count <= kLeastGradVecs * kLanes) {
      backward_tile<kLeastGradVecs>(queries, spans, input, query_grad, grads, rows);
    } else {
      backward_tile<kTileVecs>(queries, spans, input, query_grad, grads, rows);
    }
    first += rows.count;
  }
}

}  // namespace ringflash::kernels::RF_ISA
