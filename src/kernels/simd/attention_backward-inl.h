// attend_backward: with p = softmax(logits) rebuilt from lse,
//   dv_u = sum_t p_tu dout_t
//   dlogit_tu = p_tu (dout_t . v_u - dout_t . out_t)
//   dq_t = scale sum_u dlogit_tu k_u,  dk_u = scale sum_t dlogit_tu q_t,  dbias_u = sum_t dlogit_tu.
#pragma once

#include "kernels/simd/attention_tiles-inl.h"

namespace ringflash::kernels::RF_ISA {

/// A tile of rows in the layouts that the products want.
template <int kVecs>
struct GradTile {
  int64_t head_dim, padded_dim;  ///< padded_dim: head_dim rounded up to vectors
  int64_t count;                 ///< rows in use
  Vec lse[kVecs];                ///< in units of log 2; huge where the row saw nothing, so that p = 0
  Vec dout_dot_out[kVecs];
  float *q, *dout, *dq;       ///< [head_dim][lanes]; q is scaled for logits in units of log 2
  float *q_rows, *dout_rows;  ///< [lanes][padded_dim], as they came
  float *p, *dlogit;          ///< [kBlockKeys][lanes]
};

/// copy[lane] = the lane's row, padded with zeros.
inline void copy_rows(const TileRows& rows, const float* source, int64_t token_stride, int64_t head_stride,
                      int64_t width, int64_t padded_width, float* copy) {
  for (int64_t lane = 0; lane < rows.count; ++lane) {
    const float* row = source + rows.offset(lane, token_stride, head_stride);
    for (int64_t i = 0; i < width; i += kLanes) {
      store(copy + lane * padded_width + i, load_partial(row + i, width - i));
    }
  }
}

/// y += scale * x.
inline void add_scaled(const float* x, float scale, int64_t count, float* y) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(y + i, load(y + i) + load(x + i) * scale);
  for (; i < count; ++i) y[i] += x[i] * scale;
}

/// What add_row_sums adds up: for each of `count` keys j, scale * sum over rows of weights[j][row] * x[row].
struct RowSums {
  const float* weights;
  int64_t weight_stride, count;
  const float* x;
  int64_t x_stride, rows;
  float scale;
};

/// target[j][i] += the sums, for kVecs vectors of elements of which `width` count.
template <int kVecs>
[[gnu::noinline]] inline void add_row_sums(const RowSums& sums, int64_t width, float* target,
                                           int64_t target_stride) {
  constexpr int kRows = product_rows(kVecs);
  for (int64_t j = 0; j < sums.count; j += kRows) {
    const float* weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r)
      weights[r] = sums.weights + smaller(j + r, sums.count - 1) * sums.weight_stride;
    Vec acc[kRows][kVecs] = {};
    sum_products(sums.x, sums.x_stride, weights, 1, sums.rows, acc);
    float products[kRows * kVecs * kLanes];
    store_rows(acc, products);
    for (int64_t r = 0; r < smaller(kRows, sums.count - j); ++r) {
      add_scaled(products + r * kVecs * kLanes, sums.scale, smaller(width, kVecs * kLanes),
                 target + (j + r) * target_stride);
    }
  }
}

/// The same for any width: as many full strips as fit, then the narrower one that is left.
template <int kVecs = kTileVecs>
inline void add_key_gradient(RowSums sums, int64_t width, float* target, int64_t target_stride) {
  for (; width > (kVecs - 1) * kLanes; width -= kVecs * kLanes) {
    add_row_sums<kVecs>(sums, width, target, target_stride);
    sums.x += kVecs * kLanes;
    target += kVecs * kLanes;
  }
  if constexpr (kVecs > 1) {
    if (width > 0) add_key_gradient<kVecs - 1>(sums, width, target, target_stride);
  }
}

/// Takes in keys [first, first + count) of a span; count <= kBlockKeys.
template <int kVecs>
inline void backward_keys(const GradTile<kVecs>& tile, const KeySpan& span, const TileView<kVecs>& view,
                          int64_t first, int64_t count, float scale, const KeySpanGrad& grad) {
  constexpr int64_t kStride = kVecs * kLanes;
  const float* k = span.k + first * span.k_stride;
  multiply<kVecs>(tile.q, tile.head_dim, k, span.k_stride, count, tile.p);
  bias_and_mask(span, view, first, count, tile.p);
  multiply<kVecs>(tile.dout, tile.head_dim, span.v + first * span.v_stride, span.v_stride, count,
                  tile.dlogit);
  for (int64_t j = 0; j < count; ++j) {
    Vec over_rows{};
    for (int v = 0; v < kVecs; ++v) {
      float* p = tile.p + j * kStride + v * kLanes;
      float* dlogit = tile.dlogit + j * kStride + v * kLanes;
      const Vec weight = exp2(load(p) - tile.lse[v]);
      const Vec gradient = weight * (load(dlogit) - tile.dout_dot_out[v]);
      store(p, weight);
      store(dlogit, gradient);
      over_rows += gradient;
    }
    if (grad.dbias) grad.dbias[first + j] += sum(over_rows);
  }
  add_weighted<kVecs>(tile.dlogit, k, span.k_stride, count, tile.head_dim, tile.dq);
  RowSums sums{.weights = tile.p,
               .weight_stride = kStride,
               .count = count,
               .x = tile.dout_rows,
               .x_stride = tile.padded_dim,
               .rows = tile.count,
               .scale = 1.0f};
  add_key_gradient(sums, tile.head_dim, grad.dv + first * grad.dv_stride, grad.dv_stride);
  sums.weights = tile.dlogit;
  sums.x = tile.q_rows;
  sums.scale = scale;
  add_key_gradient(sums, tile.head_dim, grad.dk + first * grad.dk_stride, grad.dk_stride);
}

/// Loads what all spans share.
template <int kVecs>
inline void load_output_gradient(const TileRows& rows, const AttentionGradInput& input,
                                 GradTile<kVecs>& tile) {
  load_tile<kVecs>(rows, input.dout, input.token_stride, input.head_stride, tile.head_dim, 1.0f, tile.dout);
  copy_rows(rows, input.dout, input.token_stride, input.head_stride, tile.head_dim, tile.padded_dim,
            tile.dout_rows);
  for (int64_t lane = 0; lane < kVecs * kLanes; ++lane) {
    float lse = -__builtin_inff(), dot = 0.0f;
    if (lane < rows.count) {
      lse = input.lse[rows.offset(lane, input.lse_token_stride, 1)];
      const float* out = input.out + rows.offset(lane, input.token_stride, input.head_stride);
      Vec products{};
      for (int64_t i = 0; i < tile.head_dim; i += kLanes) {
        products +=
            load(tile.dout_rows + lane * tile.padded_dim + i) * load_partial(out + i, tile.head_dim - i);
      }
      dot = sum(products);
    }
    tile.lse[lane / kLanes][lane % kLanes] = lse == -__builtin_inff() ? 3.4e38f : kLog2E * lse;
    tile.dout_dot_out[lane / kLanes][lane % kLanes] = dot;
  }
}

template <int kVecs>
inline void backward_tile(const QueryBlock& queries, std::span<const KeySpan> spans,
                          const AttentionGradInput& input, const QueryGrad& query_grad,
                          std::span<const KeySpanGrad> grads, const TileRows& rows) {
  constexpr int64_t kStride = kVecs * kLanes;
  const int64_t head_dim = queries.head_dim, padded_dim = (head_dim + kLanes - 1) / kLanes * kLanes;
  Scratch scratch((3 * head_dim + 2 * padded_dim + 2 * kBlockKeys) * kStride);
  GradTile<kVecs> tile{.head_dim = head_dim,
                       .padded_dim = padded_dim,
                       .count = rows.count,
                       .lse = {},
                       .dout_dot_out = {},
                       .q = scratch.take(head_dim * kStride),
                       .dout = scratch.take(head_dim * kStride),
                       .dq = scratch.take(head_dim * kStride),
                       .q_rows = scratch.take(padded_dim * kStride),
                       .dout_rows = scratch.take(padded_dim * kStride),
                       .p = scratch.take(kBlockKeys * kStride),
                       .dlogit = scratch.take(kBlockKeys * kStride)};
  load_output_gradient(rows, input, tile);
  Vec scale[kVecs];
  for (Vec& s : scale) s = broadcast(queries.scale);
  for (const bool global : {false, true}) {
    const float* q = global ? queries.q_global : queries.q;
    bool loaded = false;
    for (size_t i = 0; i < spans.size(); ++i) {
      if (spans[i].global != global) continue;
      if (!loaded) {
        load_tile<kVecs>(rows, q, queries.token_stride, queries.head_stride, head_dim, queries.scale * kLog2E,
                         tile.q);
        copy_rows(rows, q, queries.token_stride, queries.head_stride, head_dim, padded_dim, tile.q_rows);
        for (int64_t k = 0; k < head_dim * kStride; ++k) tile.dq[k] = 0.0f;
        loaded = true;
      }
      const TileView<kVecs> view(rows, spans[i]);
      for (int64_t first = 0; first < view.most; first += kBlockKeys) {
        backward_keys(tile, spans[i], view, first, smaller(kBlockKeys, view.most - first), queries.scale,
                      grads[i]);
      }
    }
    if (loaded) {
      store_tile<kVecs, true>(rows, tile.dq, scale, head_dim, query_grad.token_stride, query_grad.head_stride,
                              global ? query_grad.dq_global : query_grad.dq);
    }
  }
}

inline void attend_backward(const QueryBlock& queries, std::span<const KeySpan> spans,
                            const AttentionGradInput& input, const QueryGrad& query_grad,
                            std::span<const KeySpanGrad> grads) {
  const int64_t count = queries.tokens * queries.heads;
  for (int64_t first = 0; first < count;) {
    const TileRows rows{first, smaller(count - first, kTileVecs * kLanes), queries.heads};
    if (rows.count <= kLanes) {
      backward_tile<1>(queries, spans, input, query_grad, grads, rows);
    } else {
      backward_tile<kTileVecs>(queries, spans, input, query_grad, grads, rows);
    }
    first += rows.count;
  }
}

}  // namespace ringflash::kernels::RF_ISA
