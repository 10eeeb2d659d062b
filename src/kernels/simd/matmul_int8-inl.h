// Products with Q8_0, Q4_0, Q4_1 and Q5_0 weights and activations of 8 bits. Rows lie one after another, blocks along a row.
#pragma once

#include <utility>

#if RF_LANES == 8
#include "kernels/simd/block_tile-inl.h"
#include "kernels/simd/int8_panel-inl.h"
#else
#include "kernels/simd/group_tile-inl.h"
#if RF_LANES == 16
#include "kernels/simd/quad_panel-inl.h"
#endif
#endif

namespace ringflash::kernels::RF_ISA {

inline constexpr int kInt8Rows = 4, kInt8Tokens = 4;
static_assert(kInt8Tile % kInt8Tokens == 0);  // a tile that begins at a multiple of its most tokens is within one of x

/// What tiles of a format read tokens from, and how many at most.
#if RF_LANES == 16
template <typename Format>
using TileTokens = QuadTokens<Format::kBias>;
inline constexpr int kMostTokens = kQuadTokens;
#else
template <typename Format>
using TileTokens = const Int8Tokens&;
inline constexpr int kMostTokens = kInt8Tokens;
#endif

template <typename Format, int kTokens, typename Tokens>
inline void int8_rows(const Tokens& x, int64_t first, const typename Format::Block* w, float* y, int64_t y_stride,
                      int64_t begin, int64_t end) {
  const int64_t row_blocks = x.in / Format::Block::kWeights;
  // Rows of a tile lie far apart, so that each of its rows reads on where the one before it ended.
  const int64_t step = (end - begin) / kInt8Rows;
  const auto from = [&](int64_t o) { return w + o * row_blocks; };
  float* out = y + first * y_stride;
  // The tiles ask for what lies kInt8Prefetch ahead, so that nobody has asked for what comes before that.
  for (int r = 0; step > 0 && r < kInt8Rows; ++r) {
    const auto* bytes = reinterpret_cast<const char*>(from(begin + r * step));
    for (int64_t at = 0; at < kInt8Prefetch; at += 64) __builtin_prefetch(bytes + at);
  }
  for (int64_t o = begin; o < begin + step; ++o) {
    int8_tile<Format, kTokens, kInt8Rows>(x, first, from(o), step, out + o, y_stride);
  }
  for (int64_t o = begin + step * kInt8Rows; o < end; ++o) {
    int8_tile<Format, kTokens, 1>(x, first, from(o), 1, out + o, y_stride);
  }
}

/// Rows that stay in a private cache while the tokens pass.
inline constexpr int64_t kInt8BlockRows = 64;

template <typename Format>
inline void matmul_int8(const Int8Tokens& x, const typename Format::Block* w, float* y, int64_t y_stride,
                        int64_t out_begin, int64_t out_end) {
#if RF_LANES != 4
  if (x.tokens >= kLeastPanelTokens) {
    return multiply_panels(x, BlockRows<Format>{w, x.in / Format::Block::kWeights}, y, y_stride, out_begin, out_end);
  }
#endif
  const TileTokens<Format> tokens(x);
  const int64_t rows = x.tokens <= kMostTokens ? out_end - out_begin : kInt8BlockRows;
  for (int64_t begin = out_begin; begin < out_end; begin += rows) {
    const int64_t end = begin + rows < out_end ? begin + rows : out_end;
    int64_t t = 0;
    for (; t + kMostTokens <= x.tokens; t += kMostTokens) int8_rows<Format, kMostTokens>(tokens, t, w, y, y_stride, begin, end);
    const auto rest = [&]<int... kLess>(std::integer_sequence<int, kLess...>) {
      ((x.tokens - t == kLess + 1 ? int8_rows<Format, kLess + 1>(tokens, t, w, y, y_stride, begin, end) : void()), ...);
    };
    rest(std::make_integer_sequence<int, kMostTokens - 1>{});
  }
}

inline void matmul_q8_0(const Int8Tokens& x, const BlockQ8_0* w, float* y, int64_t y_stride, int64_t out_begin,
                        int64_t out_end) {
  matmul_int8<FormatQ8_0>(x, w, y, y_stride, out_begin, out_end);
}

inline void matmul_q4_0(const Int8Tokens& x, const BlockQ4_0* w, float* y, int64_t y_stride, int64_t out_begin,
                        int64_t out_end) {
  matmul_int8<FormatQ4_0>(x, w, y, y_stride, out_begin, out_end);
}

inline void matmul_q4_1(const Int8Tokens& x, const BlockQ4_1* w, float* y, int64_t y_stride, int64_t out_begin,
                        int64_t out_end) {
  matmul_int8<FormatQ4_1>(x, w, y, y_stride, out_begin, out_end);
}

inline void matmul_q5_0(const Int8Tokens& x, const BlockQ5_0* w, float* y, int64_t y_stride, int64_t out_begin,
                        int64_t out_end) {
  matmul_int8<FormatQ5_0>(x, w, y, y_stride, out_begin, out_end);
}

}  // namespace ringflash::kernels::RF_ISA
