// Stored weights as vectors of fp32. The only intrinsics: g++ 12 compiles __builtin_convertvector from narrow
// integers to moves of one lane at a time.
#pragma once

#include "base/float16.h"
#include "kernels/simd/vec.h"

#if RF_LANES == 4
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

namespace ringflash::kernels::RF_ISA {

#if RF_LANES == 16
// The maskz forms, all lanes on: g++ 12 warns of its own headers in the plain ones (its bug 105593).
inline VecI load_u16(const void* p) {
  return (VecI)_mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(static_cast<const __m256i*>(p)));
}
#elif RF_LANES == 8
inline VecI load_u16(const void* p) {
  return (VecI)_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
#elif RF_LANES == 4
inline VecI load_u16(const void* p) {
  uint16x4_t raw;
  __builtin_memcpy(&raw, p, sizeof raw);
  return (VecI)vmovl_u16(raw);
}
#endif

inline Vec load(const bf16* p) {
  return from_bits(load_u16(p) << 16);
}

/// The first `count` values at p, then zeros; nothing else is read.
inline Vec load_partial(const bf16* p, int64_t count) {
  if (count >= kLanes) return load(p);
  bf16 padded[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load(padded);
}

}  // namespace ringflash::kernels::RF_ISA
