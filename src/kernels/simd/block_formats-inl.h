// Blocks of Q8_0, Q4_0, Q4_1 and Q5_0 weights as vectors, and what products must know of each format.
#pragma once

#include "format/block_q4_0.h"
#include "format/block_q4_1.h"
#include "format/block_q5_0.h"
#include "format/block_q8_0.h"
#include "kernels/kernels.h"
#include "kernels/simd/bytes-inl.h"

namespace ringflash::kernels::RF_ISA {

// How many bytes ahead of their use weights are asked for.
inline constexpr int64_t kInt8Prefetch = 1024;

#if RF_LANES != 8
// A group of 64 inputs: so many vectors of bytes, of which those of one block (or two) share a vector of scales.
inline constexpr int kGroupVecs = kInt8Group / kBytes;
inline constexpr int kScaleVecs = RF_LANES == 16 ? 1 : 2;

/// A row's weights of a group. Where dot_unsigned() wants them unsigned, the format's bias has been added. Of formats
/// without a minimum nobody reads it.
struct GroupWeights {
  Bytes values[kGroupVecs];
  Vec scales[kScaleVecs];
  Vec minima[kScaleVecs] = {};
};
#endif

/// What formats say of themselves: whether values are unsigned, of which kBias has been added, whether they are of 4 bits,
/// and whether each block has a minimum.
struct SignedFormat {
  static constexpr bool kUnsigned = false, kNibbles = false, kMinimum = false;
  static constexpr int kBias = 0;
};
template <int bias>
struct UnsignedFormat : SignedFormat {
  static constexpr bool kUnsigned = true, kNibbles = bias <= 8;
  static constexpr int kBias = bias;
};
struct MinimumFormat : UnsignedFormat<0> {
  static constexpr bool kMinimum = true;
};

/// The fifth bits of a block's weights.
inline uint32_t fifth_bits(const BlockQ5_0& block) {
  uint32_t bits;
  __builtin_memcpy(&bits, block.high, sizeof bits);
  return bits;
}

#if RF_LANES == 16

inline __mmask64 first_bytes(int count) {
  return (__mmask64{1} << count) - 1;
}

/// Two scales, eight lanes each, from the first 32 bytes of a vector, where they begin at `first` and `second`.
inline Vec spread_scales(__m512i bytes, int first, int second) {
  const auto pair = [](int place) { return _mm_set1_epi16(static_cast<short>((place + 1) << 8 | place)); };
  const __m256i places = _mm256_inserti128_si256(_mm256_castsi128_si256(pair(first)), pair(second), 1);
  return (Vec)_mm512_maskz_cvtph_ps(0xffff, _mm256_permutexvar_epi8(places, _mm512_castsi512_si256(bytes)));
}

/// The halves of bytes kFirst to kFirst + 15 of two blocks of kSize bytes.
template <int kFirst, int kSize>
inline Bytes spread_halves(__m512i bytes) {
  const __m128i counting = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i first = _mm512_broadcast_i32x4(_mm_add_epi8(counting, _mm_set1_epi8(kFirst)));
  const __m512i places = _mm512_mask_add_epi8(first, 0xffffffff00000000, first, _mm512_set1_epi8(kSize));
  const __m512i shifts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
  const __m512i halves = _mm512_srlv_epi32(_mm512_permutexvar_epi8(places, bytes), shifts);
  return (Bytes)_mm512_and_si512(halves, _mm512_set1_epi8(15));
}

struct FormatQ4_0 : UnsignedFormat<8> {
  using Block = BlockQ4_0;
  static GroupWeights load(const Block* block, int blocks) {
    const __m512i raw = _mm512_maskz_loadu_epi8(first_bytes(blocks * 18), block);
    return {{spread_halves<2, 18>(raw)}, {spread_scales(raw, 0, 18)}};
  }
};

struct FormatQ4_1 : MinimumFormat {
  using Block = BlockQ4_1;
  static GroupWeights load(const Block* block, int blocks) {
    const __m512i raw = _mm512_maskz_loadu_epi8(first_bytes(blocks * 20), block);
    return {{spread_halves<4, 20>(raw)}, {spread_scales(raw, 0, 20)}, {spread_scales(raw, 2, 22)}};
  }
};

struct FormatQ5_0 : UnsignedFormat<16> {
  using Block = BlockQ5_0;
  static GroupWeights load(const Block* block, int blocks) {
    const __m512i raw = _mm512_maskz_loadu_epi8(first_bytes(blocks * 22), block);
    const uint64_t next = blocks == 2 ? fifth_bits(block[1]) : 0;
    const __mmask64 high = next << 32 | fifth_bits(block[0]);
    const auto halves = (__m512i)spread_halves<6, 22>(raw);
    return {{(Bytes)_mm512_mask_add_epi8(halves, high, halves, _mm512_set1_epi8(16))}, {spread_scales(raw, 0, 22)}};
  }
};

struct FormatQ8_0 : UnsignedFormat<128> {
  using Block = BlockQ8_0;
  static GroupWeights load(const Block* block, int blocks) {
    const bool both = blocks == 2;
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block[0].values));
    const __m256i high = both ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block[1].values)) : __m256i{};
    const __m512i values = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    const __m128i scale = _mm_set1_epi16(static_cast<short>(block[0].scale.bits));
    const __m128i next = _mm_set1_epi16(static_cast<short>(both ? block[1].scale.bits : 0));
    const __m256i scales = _mm256_inserti128_si256(_mm256_castsi128_si256(scale), next, 1);
    return {{(Bytes)values ^ static_cast<int8_t>(-128)}, {(Vec)_mm512_maskz_cvtph_ps(0xffff, scales)}};
  }
};

#elif RF_LANES == 8

/// Here formats read a block at a time.
inline float value_of(fp16 scale) {
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(scale.bits)));
}

inline Bytes spread_halves(const uint8_t* bytes) {
  const __m128i raw = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
  const __m256i halves =
      _mm256_srlv_epi32(_mm256_broadcastsi128_si256(raw), _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  return (Bytes)_mm256_and_si256(halves, _mm256_set1_epi8(15));
}

struct FormatQ4_0 : UnsignedFormat<8> {
  using Block = BlockQ4_0;
  static Bytes values(const Block& block) { return spread_halves(block.values); }
};

struct FormatQ4_1 : MinimumFormat {
  using Block = BlockQ4_1;
  static Bytes values(const Block& block) { return spread_halves(block.values); }
};

struct FormatQ5_0 : UnsignedFormat<16> {
  using Block = BlockQ5_0;
  static Bytes values(const Block& block) {
    const __m256i places = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(fifth_bits(block))), places);
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit);
    return spread_halves(block.values) | (Bytes)_mm256_and_si256(set, _mm256_set1_epi8(16));
  }
};

struct FormatQ8_0 : SignedFormat {
  using Block = BlockQ8_0;
  static Bytes values(const Block& block) { return load_bytes(block.values); }
};

#elif RF_LANES == 4

inline Vec broadcast_scale(fp16 scale) {
  return (Vec)vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(scale.bits)));
}

struct FormatQ4_0 : SignedFormat {
  using Block = BlockQ4_0;
  static GroupWeights load(const Block* block, int blocks) {
    GroupWeights w{};
    for (int i = 0; i < blocks; ++i) {
      const uint8x16_t raw = vld1q_u8(block[i].values);
      w.values[2 * i] = (Bytes)vandq_u8(raw, vdupq_n_u8(15)) - int8_t{8};
      w.values[2 * i + 1] = (Bytes)vshrq_n_u8(raw, 4) - int8_t{8};
      w.scales[i] = broadcast_scale(block[i].scale);
    }
    return w;
  }
};

struct FormatQ4_1 : MinimumFormat {
  using Block = BlockQ4_1;
  static GroupWeights load(const Block* block, int blocks) {
    GroupWeights w{};
    for (int i = 0; i < blocks; ++i) {
      const uint8x16_t raw = vld1q_u8(block[i].values);
      w.values[2 * i] = (Bytes)vandq_u8(raw, vdupq_n_u8(15));
      w.values[2 * i + 1] = (Bytes)vshrq_n_u8(raw, 4);
      w.scales[i] = broadcast_scale(block[i].scale);
      w.minima[i] = broadcast_scale(block[i].minimum);
    }
    return w;
  }
};

struct FormatQ5_0 : SignedFormat {
  using Block = BlockQ5_0;
  static GroupWeights load(const Block* block, int blocks) {
    GroupWeights w{};
    for (int i = 0; i < blocks; ++i) {
      const uint8x16_t raw = vld1q_u8(block[i].values);
      const uint8_t* high = block[i].high;
      w.values[2 * i] = number(vandq_u8(raw, vdupq_n_u8(15)), high[0], high[1]);
      w.values[2 * i + 1] = number(vshrq_n_u8(raw, 4), high[2], high[3]);
      w.scales[i] = broadcast_scale(block[i].scale);
    }
    return w;
  }

 private:
  static Bytes number(uint8x16_t low, uint8_t first, uint8_t second) {
    const uint8x8_t bit = vcreate_u8(0x8040201008040201);
    const uint8x16_t set = vtstq_u8(vcombine_u8(vdup_n_u8(first), vdup_n_u8(second)), vcombine_u8(bit, bit));
    return (Bytes)vorrq_u8(low, vandq_u8(set, vdupq_n_u8(16))) - int8_t{16};
  }
};

struct FormatQ8_0 : SignedFormat {
  using Block = BlockQ8_0;
  static GroupWeights load(const Block* block, int blocks) {
    GroupWeights w{};
    for (int i = 0; i < blocks; ++i) {
      w.values[2 * i] = load_bytes(block[i].values);
      w.values[2 * i + 1] = load_bytes(block[i].values + kBytes);
      w.scales[i] = broadcast_scale(block[i].scale);
    }
    return w;
  }
};

#endif

}  // namespace ringflash::kernels::RF_ISA
