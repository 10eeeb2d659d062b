// Panels of int8_panel_vnni-inl.h from 16 whole rows of blocks: four bytes change places together, before those of 4 bits become
// two weights each.
#pragma once

#include "kernels/simd/int8_panel_vnni-inl.h"
#include "kernels/simd/quad_tile-inl.h"

namespace ringflash::kernels::RF_ISA {

/// 16 rows, `step` bytes apart, whose first is at p: lane r of result k is 4 bytes of row r, the k-th of 16.
[[gnu::always_inline]] inline void read_square(const char* p, int64_t step, __m512i (&result)[4]) {
  __m512i rows[4], pairs[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) rows[r] = read_quarters(p + r * step, 4 * step);  // rows r, 4 + r, 8 + r, 12 + r
#pragma GCC unroll 2
  for (int r = 0; r < 2; ++r) {
    pairs[r] = _mm512_unpacklo_epi32(rows[2 * r], rows[2 * r + 1]);
    pairs[2 + r] = _mm512_unpackhi_epi32(rows[2 * r], rows[2 * r + 1]);
  }
#pragma GCC unroll 2
  for (int k = 0; k < 2; ++k) {
    result[2 * k] = _mm512_unpacklo_epi64(pairs[2 * k], pairs[2 * k + 1]);
    result[2 * k + 1] = _mm512_unpackhi_epi64(pairs[2 * k], pairs[2 * k + 1]);
  }
}

/// 4 bytes of each row, the first row's at p.
[[gnu::always_inline]] inline __m512i read_column(const char* p, int64_t step) {
  const __m512i rows = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i places = _mm512_mullo_epi32(rows, _mm512_set1_epi32(static_cast<int>(step)));
  return _mm512_mask_i32gather_epi32(__m512i{}, 0xffff, places, p, 1);
}

/// Numbers in the low halves of the lanes.
[[gnu::always_inline]] inline Vec low_halves(__m512i lanes) {
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm512_maskz_cvtepi32_epi16(0xffff, lanes));
}

/// The fifth bits of four weights from the s-th four on, in their bytes' bit 4; lane r of `high` has all of row r.
[[gnu::always_inline]] inline __m512i spread_fifth(__m512i high, int s) {
  const __m512i first = _mm512_set1_epi64(0x1f1e1d1cfffefdfc);  // bit i of the lane to bit 4 of byte i
  const __m512i places = _mm512_add_epi8(first, _mm512_set1_epi8(static_cast<char>(4 * s)));
  return _mm512_and_si512(_mm512_multishift_epi64_epi8(places, high), _mm512_set1_epi8(16));
}

/// One block of each row, the first at p: element s has inputs 4 s to 4 s + 3. Here of formats with two weights to a byte.
template <typename Format>
[[gnu::always_inline]] inline void read_steps(const char* p, int64_t step, __m512i (&w)[kHalfSteps]) {
  __m512i square[4];
  read_square(p + offsetof(typename Format::Block, values), step, square);
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {
    const QuadWeights both = split_halves(square[k]);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) w[4 * h + k] = both.halves[h];
  }
}

template <>
[[gnu::always_inline]] inline void read_steps<FormatQ8_0>(const char* p, int64_t step, __m512i (&w)[kHalfSteps]) {
  const char* values = p + offsetof(BlockQ8_0, values);
  __m512i square[4];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) {
    read_square(values + 16 * h, step, square);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) w[4 * h + k] = square[k];
  }
}

/// As half of a panel's group.
template <typename Format>
[[gnu::always_inline]] inline void pack_half(const char* p, int64_t step, PanelGroup& group, int half) {
  constexpr bool kFifth = std::is_same_v<Format, FormatQ5_0>;
  constexpr int kLess = std::is_same_v<Format, FormatQ8_0> ? 0 : Format::kBias;  // the former's are signed as they lie there
  __m512i w[kHalfSteps], high{};
  read_steps<Format>(p, step, w);
  if constexpr (kFifth) high = read_column(p + offsetof(BlockQ5_0, high), step);
  VecI start{};
#pragma GCC unroll 8
  for (int s = 0; s < kHalfSteps; ++s) {
    if constexpr (kFifth) w[s] = _mm512_or_si512(w[s], spread_fifth(high, s));
    if constexpr (kLess != 0) w[s] = _mm512_sub_epi8(w[s], _mm512_set1_epi8(kLess));
    group.weights[half][s] = (Bytes)w[s];
    start = start_gathered(start, (Bytes)w[s]);
  }
  group.start[half] = start;
  const __m512i numbers = read_column(p, step);
  group.scales[half] = low_halves(numbers);
  group.minima[half] = Format::kMinimum ? low_halves(_mm512_srli_epi32(numbers, 16)) : Vec{};
}

/// Overload of panel_rows-inl.h's.
template <typename Format>
inline bool pack_whole(const BlockRows<Format>& source, int64_t row, int64_t index, PanelGroup& group) {
  const int64_t step = source.row_blocks * static_cast<int64_t>(sizeof(typename Format::Block));
  if (step * kPanelRows > INT32_MAX) return false;
  const typename Format::Block* block = source.w + row * source.row_blocks + 2 * index;
  for (int64_t r = 0; r < kPanelRows; ++r) __builtin_prefetch(block + (kPanelRows + r) * source.row_blocks);
  for (int half = 0; half < 2; ++half) {
    if (2 * index + half < source.row_blocks) {
      pack_half<Format>(reinterpret_cast<const char*>(block + half), step, group, half);
    } else {
      for (Bytes& weights : group.weights[half]) weights = Bytes{};
      group.start[half] = VecI{};
      group.scales[half] = group.minima[half] = Vec{};
    }
  }
  return true;
}

}  // namespace ringflash::kernels::RF_ISA
