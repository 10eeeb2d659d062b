// What attention's forward and backward are made of. A tile is up to kTileVecs vectors of query rows side by
// side: lane = query row (token times head, so a group's heads share every key that is loaded), and softmax
// needs no operation across lanes. A tile's matrices are stored transposed, [width or keys][lanes].
//
// All five matrix products of attention are one register-blocked loop, sum_products.
#pragma once

#include <cstdlib>

#include "kernels/kernels.h"
#include "kernels/simd/vec.h"

namespace ringflash::kernels::RF_ISA {

/// Vectors in a full tile, and rows of products held in registers next to `vecs` vectors: together with the
/// operands they fill the 16 registers of AVX2 or the 32 of AVX-512 and NEON.
inline constexpr int kTileVecs = kLanes == 8 ? 2 : 4;
constexpr int product_rows(int vecs) {
  return vecs == 1 ? 8 : kLanes == 8 ? 6 : vecs == 4 ? 4 : 8;
}

/// Keys handled between two looks at the maximum: a multiple of every product_rows.
inline constexpr int64_t kBlockKeys = kLanes == 8 ? 96 : 64;

inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2 = 0.693147181f;

inline int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

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

/// Uninitialised floats, handed out in pieces that start on cache lines.
class Scratch {
 public:
  /// `floats`: the sizes of all pieces together, of which there are at most kMostPieces.
  explicit Scratch(int64_t floats)
      : base_(static_cast<float*>(
            std::aligned_alloc(64, static_cast<size_t>(rounded(floats) + kMostPieces * 16) * sizeof(float)))),
        next_(base_) {
    if (base_ == nullptr) std::abort();
  }
  ~Scratch() { std::free(base_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* take(int64_t floats) {
    float* piece = next_;
    next_ += rounded(floats);
    return piece;
  }

 private:
  static constexpr int64_t kMostPieces = 8;
  static int64_t rounded(int64_t floats) { return (floats + 15) / 16 * 16; }

  float *base_, *next_;
};

/// acc[r][v] += sum over steps of x[step][v] * rows[r][step * row_step], x's rows being x_stride apart.
template <int kRows, int kVecs>
[[gnu::always_inline]] inline void sum_products(const float* x, int64_t x_stride,
                                                const float* const (&rows)[kRows], int64_t row_step,
                                                int64_t steps, Vec (&acc)[kRows][kVecs]) {
  for (int64_t step = 0; step < steps; ++step) {
    Vec operand[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) operand[v] = load(x + step * x_stride + v * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      Vec factor = broadcast(rows[r][step * row_step]);
      keep_in_register(factor);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[r][v] += operand[v] * factor;
    }
  }
}

template <int kRows, int kVecs>
[[gnu::always_inline]] inline void store_rows(const Vec (&acc)[kRows][kVecs], float* target) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) store(target + (r * kVecs + v) * kLanes, acc[r][v]);
  }
}

/// target[j][v] = sum_i x[i][v] * y_j[i] for `count` rows y_j; x and target are rows of kVecs vectors. Writes
/// up to the next multiple of product_rows, repeating row count - 1.
template <int kVecs>
[[gnu::noinline]] inline void multiply(const float* x, int64_t width, const float* y, int64_t y_stride,
                                       int64_t count, float* target) {
  constexpr int kRows = product_rows(kVecs);
  for (int64_t j = 0; j < count; j += kRows) {
    const float* rows[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) rows[r] = y + smaller(j + r, count - 1) * y_stride;
    Vec acc[kRows][kVecs] = {};
    sum_products(x, kVecs * kLanes, rows, 1, width, acc);
    store_rows(acc, target + j * kVecs * kLanes);
  }
}

/// target[i][v] += sum_j weights[j][v] * y[j][i] for i < width; target and weights are rows of kVecs vectors.
template <int kVecs, int kRows = product_rows(kVecs)>
[[gnu::noinline]] inline void add_weighted(const float* weights, const float* y, int64_t y_stride,
                                           int64_t count, int64_t width, float* target) {
  for (; width >= kRows; width -= kRows) {
    const float* rows[kRows];
    Vec acc[kRows][kVecs];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      rows[r] = y + r;
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[r][v] = load(target + (r * kVecs + v) * kLanes);
    }
    sum_products(weights, kVecs * kLanes, rows, y_stride, count, acc);
    store_rows(acc, target);
    y += kRows;
    target += kRows * kVecs * kLanes;
  }
  if constexpr (kRows > 1) {
    if (width > 0) add_weighted<kVecs, kRows / 2>(weights, y, y_stride, count, width, target);
  }
}

/// Exchanges the off-diagonal halves of the 2 x 2 block that rows a and b, kWidth apart, belong to.
template <int kWidth, int... kLane>
[[gnu::always_inline]] inline void exchange(Vec& a, Vec& b, LaneList<kLane...>) {
  const Vec upper = __builtin_shufflevector(a, b, ((kLane & kWidth) ? kLanes + kLane - kWidth : kLane)...);
  b = __builtin_shufflevector(a, b, ((kLane & kWidth) ? kLanes + kLane : kLane + kWidth)...);
  a = upper;
}

template <int kWidth>
[[gnu::always_inline]] inline void exchange_all(Vec (&square)[kLanes]) {
  if constexpr (kWidth > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (!(i & kWidth)) exchange<kWidth>(square[i], square[i | kWidth], CountLanes<kLanes>::List{});
    }
    exchange_all<kWidth / 2>(square);
  }
}

/// Transposes the square of kLanes vectors.
[[gnu::noinline]] inline void transpose(Vec (&square)[kLanes]) {
  exchange_all<kLanes / 2>(square);
}

inline void store_partial(float* p, Vec v, int64_t count) {
  if (count >= kLanes) return store(p, v);
  float lanes[kLanes];
  store(lanes, v);
  for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}

/// Which query rows a tile holds: row = token * heads + head, `count` of them from `first`.
struct TileRows {
  int64_t first, count, heads;

  int64_t token(int64_t lane) const { return (first + smaller(lane, count - 1)) / heads; }
  /// Where a tensor with these strides keeps the row of a lane below `count`.
  int64_t offset(int64_t lane, int64_t token_stride, int64_t head_stride) const {
    const int64_t row = first + lane;
    return row / heads * token_stride + row % heads * head_stride;
  }
};

/// tile[i][lane] = scale * rows' element i; lanes past the last row become 0.
template <int kVecs>
inline void load_tile(const TileRows& rows, const float* source, int64_t token_stride, int64_t head_stride,
                      int64_t width, float scale, float* tile) {
  for (int64_t lane = 0; lane < kVecs * kLanes; lane += kLanes) {
    const float* row[kLanes];
    for (int k = 0; k < kLanes; ++k) {
      row[k] = lane + k < rows.count ? source + rows.offset(lane + k, token_stride, head_stride) : nullptr;
    }
    for (int64_t i = 0; i < width; i += kLanes) {
      Vec square[kLanes];
#pragma GCC unroll 1
      for (int k = 0; k < kLanes; ++k) square[k] = row[k] ? load_partial(row[k] + i, width - i) : Vec{};
      transpose(square);
      for (int k = 0; k < smaller(kLanes, width - i); ++k) {
        store(tile + ((i + k) * kVecs * kLanes + lane), square[k] * scale);
      }
    }
  }
}

/// The reverse: row's element i (+)= factor[lane] * tile[i][lane].
template <int kVecs, bool kAdd>
inline void store_tile(const TileRows& rows, const float* tile, const Vec (&factor)[kVecs], int64_t width,
                       int64_t token_stride, int64_t head_stride, float* target) {
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
  int64_t least, most;  ///< keys that the first and the last row see
  VecI seen[kVecs];     ///< keys that each lane sees

  TileView(const TileRows& rows, const KeySpan& span) {
    const int64_t base = larger(smaller(span.visible, span.count), -(int64_t{1} << 30));
    least = larger(smaller(base + rows.token(0), span.count), 0);
    most = larger(smaller(base + rows.token(rows.count - 1), span.count), 0);
    if (least == most) {
      for (VecI& s : seen) s = VecI{} + static_cast<int32_t>(most);
      return;
    }
    for (int v = 0; v < kVecs; ++v) {
      for (int k = 0; k < kLanes; ++k) {
        seen[v][k] = static_cast<int32_t>(smaller(base + rows.token(v * kLanes + k), span.count));
      }
    }
  }
};

/// Finishes the products q.k of keys [first, first + count), in place: adds the bias, and writes -infinity
/// where the lane does not see the key. All in units of log 2.
template <int kVecs>
inline void bias_and_mask(const KeySpan& span, const TileView<kVecs>& view, int64_t first, int64_t count,
                          float* logits) {
  const bool masked = first + count > view.least;
  if (span.bias == nullptr && !masked) return;
  for (int64_t j = 0; j < count; ++j) {
    const float bias = span.bias ? kLog2E * span.bias[first + j] : 0.0f;
    for (int v = 0; v < kVecs; ++v) {
      float* p = logits + (j * kVecs + v) * kLanes;
      store(p, view.seen[v] > static_cast<int32_t>(first + j) ? load(p) + bias : Vec{} - __builtin_inff());
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
