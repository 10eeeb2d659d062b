// What attention's forward and backward are made of. A tile is a few vectors of query rows side by side: lane
// = query row (token times head, so a group's heads share every key that is loaded), and softmax needs no
// operation across lanes. A tile's matrices are transposed, [head_dim or keys][lanes].
//
// All six matrix products of attention are one function, multiply(), of the instruction set's own.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/operands-inl.h"
#include "kernels/simd/scratch-inl.h"
#if defined(RF_AMX)
#include "kernels/simd/products_amx-inl.h"
#else
#include "kernels/simd/products_fma-inl.h"
#endif

namespace ringflash::kernels::RF_ISA {

/// Vectors in a full tile, and in the smallest one. bf16's backward sums over pairs of panels of lanes.
inline constexpr int kTileVecs = kLanes == 8 ? 2 : 4;
inline constexpr int kLeastGradVecs = kSlotNumbers;

/// Keys handled between two looks at the maximum. The more there are, the less often sums leave the
/// registers; the logits of a full tile should stay in the L1 cache.
inline constexpr int64_t kStepKeys = kSlotNumbers == 2 ? 128 : 64;
static_assert(kSpanSteps % kStepKeys == 0);

inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2 = 0.693147181f;

typedef uint32_t VecU __attribute__((vector_size(RF_LANES * 4)));

/// 2^x for x <= 127, relative error below 2e-7; 0 below -126 and for -infinity; exactly 1 for 0. NaN stays
/// NaN. x = n + r with |r| <= 1/2; 2^r by a minimax polynomial of degree 5 (max error 1.1e-7).
inline Vec exp2(Vec x) {
  const Vec shifted = x + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the nearest integer n
  const Vec r = x - (shifted - 12582912.0f);
  Vec p = broadcast(1.3264727e-3f);
  p = p * r + 9.6715130e-3f;
  p = p * r + 5.5507336e-2f;
  p = p * r + 2.4022242e-1f;
  p = p * r + 6.9314700e-1f;
  p = p * r + 1.0f;
  // Unsigned, because where x is far below -126 the exponent wraps round before it is thrown away.
  const VecU exponent = reinterpret_cast<VecU>(shifted) << 23;
  const Vec result = reinterpret_cast<Vec>(reinterpret_cast<VecU>(p) + exponent);
  return x < -126.0f ? Vec{} : result;
}

/// 2^x for a probability, x <= 0: as exact as what comes of it is rounded. 0 for -infinity.
inline Vec exp2_weight(Vec x) {
#if defined(RF_BF16)
  // 2^x = 2^floor(x) 2^r, 2^r on [0, 1) by a minimax polynomial of degree 3: relative error 7.5e-5,
  // 5e-6 on average.
  const __m512 v = reinterpret_cast<__m512>(x);
  const Vec r = reinterpret_cast<Vec>(_mm512_reduce_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
  Vec p = broadcast(7.802411e-2f) * r + 2.2606714e-1f;
  p = p * r + 6.9583387e-1f;
  p = p * r + 9.9992515e-1f;
  return reinterpret_cast<Vec>(_mm512_scalef_ps(reinterpret_cast<__m512>(p), v));
#else
  return exp2(x);
#endif
}

inline void store_partial(float* p, Vec v, int64_t count) {
  if (count >= kLanes) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}

/// Which query rows a tile holds: `count` of them in the order of token * heads + head.
class TileRows {
 public:
  TileRows(int64_t first, int64_t row_count, int64_t heads) : count(row_count) {
    int64_t token = first / heads, head = first % heads;
    for (int64_t lane = 0; lane < count; ++lane) {
      token_[lane] = token;
      head_[lane] = head;
      if (++head == heads) {
        head = 0;
        ++token;
      }
    }
  }

  const int64_t count;
  /// A lane past the last row counts as that one.
  int64_t token(int64_t lane) const { return token_[smaller(lane, count - 1)]; }
  /// Where a tensor with these strides keeps the row of a lane below `count`.
  int64_t offset(int64_t lane, int64_t token_stride, int64_t head_stride) const {
    return token_[lane] * token_stride + head_[lane] * head_stride;
  }

 private:
  int64_t token_[kTileVecs * kLanes], head_[kTileVecs * kLanes];
};

/// The rows as a right factor summed over the elements: (i, lane) = rows' element i for i < padded_width, a
/// multiple of 32; 0 past the width and the last row.
template <int kVecs>
[[gnu::noinline]] inline void load_tile(const TileRows& rows, const float* source, int64_t token_stride,
                                        int64_t head_stride, int64_t width, int64_t padded_width,
                                        Slot* tile) {
  for (int64_t lane = 0; lane < kVecs * kLanes; lane += kLanes) {
    const float* row[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      row[k] = lane + k < rows.count ? source + rows.offset(lane + k, token_stride, head_stride) : nullptr;
    }
    for (int64_t i = 0; i < padded_width; i += kLanes * kSlotNumbers) {
      Vec square[kLanes];
      for (int k = 0; k < kLanes; ++k) {
        square[k] = row[k] && i < width ? load_slots(row[k] + i, width - i) : Vec{};
      }
      transpose(square);
      Slot* target = tile + i / kSlotNumbers * kVecs * kLanes + lane;
      for (int k = 0; k < kLanes; ++k) store(target + k * kVecs * kLanes, square[k]);
    }
  }
}

/// The rows as a right factor summed over the rows: (lane, i) = rows' element i, zeros as above.
template <int kVecs>
inline void load_rows(const TileRows& rows, const float* source, int64_t token_stride, int64_t head_stride,
                      int64_t width, int64_t padded_width, Slot* target) {
  for (int64_t lane = 0; lane < kVecs * kLanes; lane += 2) {
    const float* row[2];
    for (int k = 0; k < 2; ++k) {
      row[k] = lane + k < rows.count ? source + rows.offset(lane + k, token_stride, head_stride) : nullptr;
    }
    for (int64_t i = 0; i < padded_width; i += kLanes) {
      Vec pair[2];
      for (int k = 0; k < 2; ++k) {
        pair[k] = row[k] && i < width ? load_partial(row[k] + i, width - i) : Vec{};
      }
      store_right(right_slot(target, lane, padded_width) + i, padded_width, pair[0], pair[1]);
    }
  }
}

/// Row's element i (+)= factor[lane] * tile[i][lane], in fp32.
template <int kVecs, bool kAdd>
[[gnu::noinline]] inline void store_tile(const TileRows& rows, const float* tile, const Vec (&factor)[kVecs],
                                         int64_t width, int64_t token_stride, int64_t head_stride,
                                         float* target) {
  for (int v = 0; v < kVecs; ++v) {
    for (int64_t i = 0; i < width; i += kLanes) {
      Vec square[kLanes];
      for (int k = 0; k < kLanes; ++k) {
        square[k] = i + k < width ? load(tile + ((i + k) * kVecs + v) * kLanes) * factor[v] : Vec{};
      }
      transpose(square);
      for (int k = 0; k < smaller(kLanes, rows.count - v * kLanes); ++k) {
        float* p = target + rows.offset(v * kLanes + k, token_stride, head_stride) + i;
        store_partial(p, kAdd ? load_partial(p, width - i) + square[k] : square[k], width - i);
      }
    }
  }
}

/// What of a span the rows of a tile see.
template <int kVecs>
struct TileView {
  int64_t least, most;    ///< the ends of what the first and the last row see
  int64_t latest;         ///< where the last row's keys begin
  VecI end[kVecs];        ///< the end of what each lane sees
  VecI begin[kVecs];      ///< and where it begins
  Vec query_bias[kVecs];  ///< in units of log 2

  TileView(const TileRows& rows, const KeySpan& span) : query_bias{} {
    const int64_t base = larger(smaller(span.visible, span.end), -(int64_t{1} << 30));
    least = smaller(base + rows.token(0), span.end);
    most = smaller(base + rows.token(rows.count - 1), span.end);
    latest = begin_of(span, rows.token(rows.count - 1));
    for (int v = 0; v < kVecs; ++v) {
      if (least == most) {
        end[v] = VecI{} + static_cast<int32_t>(most);
      } else {
        for (int k = 0; k < kLanes; ++k) {
          end[v][k] = static_cast<int32_t>(smaller(base + rows.token(v * kLanes + k), span.end));
        }
      }
      begin[v] = VecI{} + static_cast<int32_t>(span.begin);
      for (int k = 0; span.window > 0 && k < kLanes; ++k) {
        begin[v][k] = static_cast<int32_t>(begin_of(span, rows.token(v * kLanes + k)));
      }
      if (span.query_bias == nullptr) continue;
      for (int k = 0; k < kLanes; ++k) {
        query_bias[v][k] = kLog2E * span.query_bias[rows.token(v * kLanes + k)];
      }
    }
  }

 private:
  static int64_t begin_of(const KeySpan& span, int64_t token) {
    if (span.window == 0) return span.begin;
    return smaller(larger(span.begin, span.visible + token - span.window), span.end);
  }
};

/// Writes -infinity over the products q.k of keys [first, first + count) where the lane does not see the key.
template <int kVecs>
inline void mask_keys(const TileView<kVecs>& view, int64_t first, int64_t count,
                      float* products) {
  for (int64_t block = 0; block < count; block += kBlockKeys) {
    const int64_t begin = first + block, end = first + smaller(block + kBlockKeys, count);
    if (begin >= view.latest && end <= view.least) continue;
    for (int64_t key = begin; key < end; ++key) {
      const VecI at = VecI{} + static_cast<int32_t>(key);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        float* p = products + ((key - first) * kVecs + v) * kLanes;
        const VecI seen = (view.end[v] > at) & (view.begin[v] <= at);
        store(p, seen ? load(p) : Vec{} - __builtin_inff());
      }
    }
  }
}

/// The first key of the block that a span's keys begin in.
inline int64_t first_block_key(const KeySpan& span) {
  return span.begin / kBlockKeys * kBlockKeys;
}

/// Keys computed where `count` are seen from the first one of a step: what the products want.
inline int64_t computed_keys(int64_t count) {
  return (smaller(count, kStepKeys) + kKeyGranule - 1) / kKeyGranule * kKeyGranule;
}

/// Lanes that products are computed for, where a tile has that many rows.
template <int kVecs>
inline int64_t computed_lanes(int64_t rows) {
  return rows <= kQuad ? kQuad : kVecs * kLanes;
}

/// Makes the lanes finite for which no products of so many keys will be computed.
template <int kVecs>
inline void clear_products(int64_t rows, int64_t keys, float* products) {
  if (computed_lanes<kVecs>(rows) == kVecs * kLanes) return;
  for (int64_t i = 0; i < keys * kVecs * kLanes; ++i) products[i] = 0.0f;
}

/// c = the products of `count` keys (or values), from block first_block on, with the first `lanes` of the tile, kAdd:
/// added to it.
template <int kVecs, bool kAdd = false>
inline void multiply_keys(const KeyRows& rows, int64_t first_block, int64_t count, int64_t padded_dim,
                          const Slot* tile, float* c, int64_t lanes = kVecs * kLanes) {
  multiply<kAdd>(key_rows(rows, first_block, padded_dim), count, padded_dim / kSlotNumbers, tile,
                 kVecs * kLanes, lanes, c, kVecs * kLanes);
}

/// products[j][lane] of `count` keys of a span from block first_block on and the first `lanes`, masked: times scale (in
/// units of log 2) they are the logits.
template <int kVecs>
inline void multiply_queries(const KeySpan& span, const TileView<kVecs>& view, float scale,
                             int64_t first_block, int64_t count, int64_t padded_dim, const Slot* q,
                             float* products, int64_t lanes = kVecs * kLanes) {
  const int64_t first = first_block * kBlockKeys;
  if (span.bias == nullptr && span.query_bias == nullptr) {
    multiply_keys<kVecs>(span.rows, first_block, count, padded_dim, q, products, lanes);
  } else {  // the sums begin with what the biases are before they are scaled
    const float unscaled = 1.0f / scale;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t key = first + j;
      const float bias = span.bias && key < span.end ? kLog2E * span.bias[key] : 0.0f;
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) {
        store(products + (j * kVecs + v) * kLanes, (view.query_bias[v] + bias) * unscaled);
      }
    }
    multiply_keys<kVecs, true>(span.rows, first_block, count, padded_dim, q, products, lanes);
  }
  mask_keys(view, first, count, products);
}

}  // namespace ringflash::kernels::RF_ISA
