// Sums of rounded activations on AVX-512, which formats with a bias or a minimum need.
#pragma once

#include "kernels/simd/bytes-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Of either half of a group of 64 inputs: lane l sums those in lanes l and 4 + l of 4 bytes each.
struct HalfSums {
  __m128i lanes[2];

  explicit HalfSums(Bytes q) {
    const auto sums = (__m512i)dot_unsigned(VecI{}, Bytes{} + int8_t{1}, q);
    lanes[0] = _mm_add_epi32(_mm512_castsi512_si128(sums), _mm512_extracti32x4_epi32(sums, 1));
    lanes[1] = _mm_add_epi32(_mm512_extracti32x4_epi32(sums, 2), _mm512_extracti32x4_epi32(sums, 3));
  }
  float total(int half) const {
    const __m128i pairs = _mm_add_epi32(lanes[half], _mm_shuffle_epi32(lanes[half], 0x4e));
    return static_cast<float>(_mm_cvtsi128_si32(_mm_add_epi32(pairs, _mm_shuffle_epi32(pairs, 0xb1))));
  }
};

}  // namespace ringflash::kernels::RF_ISA
