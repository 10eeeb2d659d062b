// attend: online softmax over tiles of query rows.
#pragma once

#include "kernels/simd/attention_tile-inl.h"

namespace ringflash::kernels::RF_ISA {

/// The running softmax of a tile. Logits are in units of log 2.
template <int kVecs>
struct SoftmaxTile {
  int64_t lanes;     ///< that there are rows for; what the others hold is finite and nobody's
  Vec maximum[kVecs];
  Vec total[kVecs];  ///< sum of 2^(logit - maximum)
  int64_t begin, end;  ///< elements of the values, multiples of 32
  float* sum;        ///< [end - begin][lanes]: the same sum over the values
  float* weights;    ///< [kStepKeys][lanes]: 2^(logit - maximum)

  /// `sums` has room for [end - begin][lanes].
  SoftmaxTile(int64_t rows, int64_t begin_element, int64_t end_element, float* sums, float* step_weights)
      : lanes(computed_lanes<kVecs>(rows)), begin(begin_element), end(end_element), sum(sums), weights(step_weights) {
    for (int v = 0; v < kVecs; ++v) {
      maximum[v] = broadcast(-3.4e38f);  // finite: a row that has seen nothing yet must not make NaN
      total[v] = Vec{};
    }
    for (int64_t i = 0; i < (end - begin) * kVecs * kLanes; ++i) sum[i] = 0.0f;
  }
};

/// Raises the maximum to `maximum` and rescales what was summed, which rarely happens after the first blocks.
template <int kVecs>
inline void raise_maximum(SoftmaxTile<kVecs>& state, const Vec (&maximum)[kVecs]) {
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
  for (int64_t i = 0; i < state.end - state.begin; ++i) {
    for (int v = 0; v < kVecs; ++v) {
      float* p = state.sum + (i * kVecs + v) * kLanes;
      store(p, load(p) * factor[v]);
    }
  }
}

/// Turns the logits of `count` keys, an even number, given as products to be multiplied with `scale`, into
/// weights, and adds those to the totals. A pair's weights take no more room than its logits and may
/// overwrite them.
template <int kVecs>
[[gnu::noinline]] inline void weigh(const float* products, int64_t count, float scale, SoftmaxTile<kVecs>& state) {
  constexpr int64_t kStride = kVecs * kLanes;
  for (int64_t j = 0; j < count; j += 2) {
    const float* logits = products + j * kStride;
    Slot* weights = right_slot(state.weights, j, kStride);
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      const Vec even = exp2_weight(load(logits + v * kLanes) * scale - state.maximum[v]);
      const Vec odd = exp2_weight(load(logits + kStride + v * kLanes) * scale - state.maximum[v]);
      state.total[v] += even + odd;
      store_right(weights + v * kLanes, kStride, even, odd);
    }
  }
}

/// Takes in `count` keys of a span from block `first` on, whose masked products with the queries are given.
template <int kVecs>
inline void take_in(const float* products, float scale, const KeySpan& span, int64_t first, int64_t count,
                    SoftmaxTile<kVecs>& state) {
  constexpr int64_t kStride = kVecs * kLanes;
  Vec maximum[kVecs];
  for (int v = 0; v < kVecs; ++v) maximum[v] = load(products + v * kLanes);
  for (int64_t j = 1; j < count; ++j) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) {
      maximum[v] = max(maximum[v], load(products + j * kStride + v * kLanes));
    }
  }
  for (int v = 0; v < kVecs; ++v) maximum[v] = max(state.maximum[v], maximum[v] * scale);
  raise_maximum(state, maximum);
  weigh(products, count, scale, state);
  Panels values = value_columns(span.rows, first);
  values.data += state.begin * values.row;
  multiply<true>(values, state.end - state.begin, count / kSlotNumbers, state.weights, kStride, state.lanes, state.sum,
                 kStride);
}

template <int kVecs>
inline void finish_tile(const TileRows& rows, const SoftmaxTile<kVecs>& state, int64_t head_dim,
                        const AttentionOutput& output) {
  Vec factor[kVecs];
  for (int v = 0; v < kVecs; ++v) factor[v] = state.total[v] > 0.0f ? 1.0f / state.total[v] : Vec{};
  store_tile<kVecs, false>(rows, state.sum, factor, smaller(head_dim, state.end) - state.begin, output.token_stride,
                           output.head_stride, output.out + state.begin);
  if (output.lse == nullptr || state.begin > 0) return;
  for (int64_t lane = 0; lane < rows.count; ++lane) {  // log 0 makes the -infinity of a row that sees nothing
    const float total = state.total[lane / kLanes][lane % kLanes];
    output.lse[rows.offset(lane, output.lse_token_stride, 1)] =
        kLn2 * state.maximum[lane / kLanes][lane % kLanes] + __builtin_logf(total);
  }
}

/// Calls body(span, view, first key) for each step of a tile's spans, those that read q_global last.
template <int kVecs>
inline void for_steps(std::span<const KeySpan> spans, const TileRows& rows, auto body) {
  for (const bool global : {false, true}) {
    for (const KeySpan& span : spans) {
      if (span.global != global) continue;
      const TileView<kVecs> view(rows, span);
      for (int64_t first = first_block_key(span); first < view.most; first += kStepKeys) body(span, view, first);
    }
  }
}

/// A tile's queries as the products read them: those of one kind, until the other is asked for.
template <int kVecs>
class QueryTile {
 public:
  QueryTile(const QueryBlock& queries, const TileRows& rows, Slot* room) : queries_(queries), rows_(rows), q_(room) {}

  /// products[j][lane] of the keys of a step that begins with `first`, masked. Returns the number of keys.
  int64_t multiply(const KeySpan& span, const TileView<kVecs>& view, int64_t first, float* products) {
    const int64_t padded = padded_dim(queries_.head_dim);
    if (!loaded_ || global_ != span.global) {
      load_tile<kVecs>(rows_, span.global ? queries_.q_global : queries_.q,
                       span.global ? queries_.global_token_stride : queries_.token_stride, queries_.head_stride,
                       queries_.head_dim, padded, q_);
      loaded_ = true;
      global_ = span.global;
    }
    const int64_t count = computed_keys(view.most - first);
    multiply_queries(span, view, queries_.scale * kLog2E, first / kBlockKeys, count, padded, q_, products,
                     computed_lanes<kVecs>(rows_.count));
    return count;
  }

 private:
  const QueryBlock& queries_;
  const TileRows& rows_;
  Slot* q_;
  bool loaded_ = false, global_ = false;
};

template <int kVecs>
inline void attend_tile(const QueryBlock& queries, std::span<const KeySpan> spans,
                        const AttentionOutput& output, const TileRows& rows) {
  constexpr int64_t kStride = kVecs * kLanes;
  const int64_t padded = padded_dim(queries.head_dim);
  Scratch scratch((2 * padded + kStepKeys) * kStride);
  QueryTile<kVecs> q(queries, rows, scratch.take(padded * kStride));
  float* sums = scratch.take(padded * kStride);
  float* products = scratch.take(kStepKeys * kStride);
  clear_products<kVecs>(rows.count, kStepKeys, products);
  SoftmaxTile<kVecs> state(rows.count, 0, padded, sums, products);
  for_steps<kVecs>(spans, rows, [&](const KeySpan& span, const TileView<kVecs>& view, int64_t first) {
    const int64_t count = q.multiply(span, view, first, products);
    take_in(products, queries.scale * kLog2E, span, first / kBlockKeys, count, state);
  });
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
