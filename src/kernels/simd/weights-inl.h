// Stored weights as vectors of fp32. The only intrinsics: g++ 12 compiles __builtin_convertvector from narrow
// integers to moves of one lane at a time.
#pragma once

#include "format/block_q8_0.h"
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
inline VecI load_s8(const void* p) {
  return (VecI)_mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128(static_cast<const __m128i*>(p)));
}
#elif RF_LANES == 8
inline VecI load_u16(const void* p) {
  return (VecI)_mm256_cvtepu16_epi32(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}
inline VecI load_s8(const void* p) {
  return (VecI)_mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(p)));
}
#elif RF_LANES == 4
inline VecI load_u16(const void* p) {
  uint16x4_t raw;
  __builtin_memcpy(&raw, p, sizeof raw);
  return (VecI)vmovl_u16(raw);
}
inline VecI load_s8(const void* p) {
  int32_t raw;
  __builtin_memcpy(&raw, p, sizeof raw);
  return (VecI)vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(static_cast<uint32_t>(raw)))));
}
#endif

inline Vec load(const bf16* p) {
  return from_bits(load_u16(p) << 16);
}
inline Vec load(const int8_t* p) {
  return __builtin_convertvector(load_s8(p), Vec);
}

/// The first `count` values at p, then zeros; nothing else is read.
inline Vec load_partial(const bf16* p, int64_t count) {
  if (count >= kLanes) return load(p);
  bf16 padded[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load(padded);
}

/// base/float16.h's to_float in every lane; here so that no other ISA's code can end up sharing it.
inline Vec broadcast(fp16 x) {
  const uint32_t magnitude = x.bits & 0x7fffu;
  uint32_t widened = (magnitude << 13) + (112u << 23);
  if (magnitude - 0x400u >= 0x7800u) [[unlikely]] {
    if (magnitude >= 0x7c00u) {  // infinity and NaN
      widened |= 0x7f800000u;
    } else {  // zero and subnormals: multiples of 2^-24
      const float value = static_cast<float>(magnitude) * 0x1p-24f;
      __builtin_memcpy(&widened, &value, sizeof value);
    }
  }
  widened |= (x.bits & 0x8000u) << 16;
  return from_bits(VecI{} + static_cast<int32_t>(widened));
}

}  // namespace ringflash::kernels::RF_ISA
