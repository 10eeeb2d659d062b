// Vectors of bytes: looking up activations in a table of 64, and sums of products of four bytes in each 32-bit lane.
// The instructions for both differ most between processors, so this is the part with a variant for each: AVX-512 with
// VBMI and VNNI (RF_LANES 16), AVX2 (8), NEON with RF_DOTPROD and without (4).
#pragma once

#include <cstddef>

#include "base/float16.h"
#include "kernels/simd/vec.h"

#if RF_LANES == 4
#include <arm_neon.h>
#else
#include <immintrin.h>
#endif

namespace ringflash::kernels::RF_ISA {

typedef int8_t Bytes __attribute__((vector_size(RF_LANES * 4)));
typedef uint8_t UnsignedBytes __attribute__((vector_size(RF_LANES * 4)));
inline constexpr int kBytes = RF_LANES * 4;

inline Bytes load_bytes(const void* p) {
  Bytes v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/// Activations are stored as 128 + q; the sign bit turned round makes q of that.
inline Bytes load_signed(const uint8_t* p) {
  return load_bytes(p) ^ static_cast<int8_t>(-128);
}

#if RF_LANES != 16
/// For each byte of a bitmap, where its bits' values are among the next eight; 0x80 where there is none.
struct Spreads {
  uint8_t places[256][8];
  constexpr Spreads() : places() {
    for (int bits = 0; bits < 256; ++bits) {
      uint8_t next = 0;
      for (int i = 0; i < 8; ++i) places[bits][i] = (bits >> i & 1) != 0 ? next++ : uint8_t{0x80};
    }
  }
};
inline constexpr Spreads kSpreads;
#endif

#if RF_LANES == 16

/// 64 activations, 128 + q as stored.
struct Lookup {
  __m512i x;
};
inline Lookup load_lookup(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
/// The activations at the indices in the low 6 bits.
inline Bytes gather(const Lookup& table, Bytes index) {
  return (Bytes)_mm512_permutexvar_epi8((__m512i)index, table.x);
}
/// Lane by lane, sum + four products of what was gathered and w.
inline VecI dot_gathered(VecI sum, Bytes gathered, Bytes w) {
  return (VecI)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)gathered, (__m512i)w);
}
/// What a sum of dot_gathered() starts from: sums of all w, added to `start`, take out the 128s.
inline VecI start_gathered(VecI start, Bytes w) {
  return start - (VecI)_mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(-128), (__m512i)w);
}
/// The same for weights that were made unsigned, and activations q.
inline VecI dot_unsigned(VecI sum, Bytes w, Bytes q) {
  return (VecI)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)w, (__m512i)q);
}

/// Low bits (2 of each value) of a step's entries, moved to bits 4 and 5 of each entry's byte.
inline Bytes load_low_bits(const uint8_t* p, int) {
  const __m512i counts = _mm512_setr_epi32(4, 4, 4, 4, 2, 2, 2, 2, 0, 0, 0, 0, 30, 30, 30, 30);
  const __m512i bits = _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  return (Bytes)_mm512_rolv_epi32(bits, counts);
}
/// a where mask has ones, else b; then only the bits of `keep`.
inline Bytes select_bits(int8_t mask, Bytes a, Bytes b, int8_t keep) {
  const __m512i mixed =
      _mm512_ternarylogic_epi32(_mm512_set1_epi8(mask), (__m512i)a, (__m512i)b, 0xca);
  return (Bytes)_mm512_and_si512(mixed, _mm512_set1_epi8(keep));
}
inline VecI load_u8(const uint8_t* p) {
  return (VecI)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline Vec load(const fp16* p) {
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

/// The lanes' low bytes.
inline void store_low_bytes(uint8_t* p, VecI v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v));
}

#elif RF_LANES == 8

/// 64 activations q, each 16 of them in both halves of a vector.
struct Lookup {
  __m256i quarters[4];
};
inline Lookup load_lookup(const uint8_t* p) {
  Lookup table;
  for (int i = 0; i < 4; ++i) {
    const __m128i quarter = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16 * i));
    table.quarters[i] = _mm256_xor_si256(_mm256_broadcastsi128_si256(quarter), _mm256_set1_epi8(-128));
  }
  return table;
}
inline Bytes gather(const Lookup& table, Bytes index) {
  const __m256i low = _mm256_and_si256((__m256i)index, _mm256_set1_epi8(63));
  __m256i found = _mm256_setzero_si256();
  for (int i = 0; i < 4; ++i) {
    // 0 to 15 for indices into this quarter; adding 0x70 sets bit 7 of all others, which look up a 0.
    const __m256i place = _mm256_xor_si256(low, _mm256_set1_epi8(static_cast<char>(16 * i)));
    const __m256i bounded = _mm256_add_epi8(place, _mm256_set1_epi8(0x70));
    found = _mm256_or_si256(found, _mm256_shuffle_epi8(table.quarters[i], bounded));
  }
  return (Bytes)found;
}
/// Pairs of products are summed in 16 bits: 2 * 128 * 127 fits.
inline VecI dot_unsigned(VecI sum, Bytes w, Bytes q) {
  const __m256i pairs = _mm256_maddubs_epi16((__m256i)w, (__m256i)q);
  return sum + (VecI)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
inline VecI dot_gathered(VecI sum, Bytes gathered, Bytes w) {
  const __m256i signs = _mm256_sign_epi8((__m256i)gathered, (__m256i)w);
  return dot_unsigned(sum, (Bytes)_mm256_abs_epi8((__m256i)w), (Bytes)signs);
}
inline VecI start_gathered(VecI start, Bytes) { return start; }

inline Bytes load_low_bits(const uint8_t* p, int part) {
  const __m256i bits = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  if (part == 0) return (Bytes)_mm256_sllv_epi32(bits, _mm256_setr_epi32(4, 4, 4, 4, 2, 2, 2, 2));
  return (Bytes)_mm256_srlv_epi32(bits, _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2));
}
inline Bytes select_bits(int8_t mask, Bytes a, Bytes b, int8_t keep) { return ((a & mask) | (b & static_cast<int8_t>(~mask))) & keep; }
inline VecI load_u8(const uint8_t* p) {
  return (VecI)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline Vec load(const fp16* p) {
  return (Vec)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline void store_low_bytes(uint8_t* p, VecI v) {
  const __m256i places = _mm256_set1_epi32(0x0c080400);
  const __m256i low = _mm256_shuffle_epi8((__m256i)v, places);
  const __m128i both = _mm_unpacklo_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), both);
}

/// For each of eight bits the place of its value among those of the bits that are set, with the top bit where it is not.
inline __m128i spread_places(uint8_t bits) {
  return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kSpreads.places[bits]));
}
/// The first values under the bits that are set, zeros elsewhere; 16 values are read.
inline __m128i spread_eight(const void* values, uint8_t bits) {
  return _mm_shuffle_epi8(_mm_loadu_si128(static_cast<const __m128i*>(values)), spread_places(bits));
}

#elif RF_LANES == 4

struct Lookup {
  int8x16x4_t quarters;
};
inline Lookup load_lookup(const uint8_t* p) {
  Lookup table;
  for (int i = 0; i < 4; ++i) table.quarters.val[i] = (int8x16_t)load_signed(p + 16 * i);
  return table;
}
inline Bytes gather(const Lookup& table, Bytes index) {
  return (Bytes)vqtbl4q_s8(table.quarters, vreinterpretq_u8_s8((int8x16_t)(index & int8_t{63})));
}
inline VecI dot_gathered(VecI sum, Bytes gathered, Bytes w) {
  const int8x16_t a = (int8x16_t)gathered, b = (int8x16_t)w;
#if defined(RF_DOTPROD)
  return (VecI)vdotq_s32((int32x4_t)sum, a, b);
#else
  // Pairs of products are summed in 16 bits: 2 * 128 * 127 fits.
  const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
  return (VecI)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, vmull_high_s8(a, b)));
#endif
}
inline VecI start_gathered(VecI start, Bytes) { return start; }
inline VecI dot_unsigned(VecI sum, Bytes w, Bytes q) { return dot_gathered(sum, q, w); }

inline Bytes load_low_bits(const uint8_t* p, int part) {
  const int32x4_t count = vdupq_n_s32(4 - 2 * part);
  return (Bytes)vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(p)), count);
}
inline Bytes select_bits(int8_t mask, Bytes a, Bytes b, int8_t keep) { return ((a & mask) | (b & static_cast<int8_t>(~mask))) & keep; }
inline VecI load_u8(const uint8_t* p) {
  uint32_t raw;
  __builtin_memcpy(&raw, p, sizeof raw);
  return (VecI)vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(raw))));
}
inline Vec load(const fp16* p) {
  return (Vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const uint16_t*>(p))));
}

inline void spread_eight(const int8_t* values, uint8_t bits, int8_t* out) {
  vst1_s8(out, vqtbl1_s8(vld1q_s8(values), vld1_u8(kSpreads.places[bits])));
}

inline void store_low_bytes(uint8_t* p, VecI v) {
  const uint16x4_t halves = vmovn_u32((uint32x4_t)v);
  const uint32_t low = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(halves, halves))), 0);
  __builtin_memcpy(p, &low, sizeof low);
}

#endif

}  // namespace ringflash::kernels::RF_ISA
