// Quantised types of GGUF that are read on import alone, as ggml lays them out. Numbers of several bytes are little
// endian; nothing needs alignment beyond that of fp16.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"

namespace ringflash {

/// Weight i is d n_i + m, n_i as in Q5_0.
struct BlockQ5_1 {
  static constexpr int64_t kWeights = 32;
  fp16 scale, minimum;
  uint8_t high[kWeights / 8];
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ5_1) == 24 && std::is_trivially_copyable_v<BlockQ5_1>);

/// Scales and minima of eight groups of 32 weights, 6 bits each: s_j and m_j are the low six bits of bytes j and j + 4
/// for j < 4. Above, their low four bits are the low and the high half of byte j + 4, and their high two bits are the
/// high two of bytes j - 4 and j.
struct PackedScales {
  uint8_t bytes[12];
};

/// Weight i, in group j = i / 32, is d s_j n_i - dmin m_j. n_i is half of values[32 (j / 2) + i mod 32]: the low one
/// for even j.
struct BlockQ4_K {
  static constexpr int64_t kWeights = 256;
  fp16 scale, minimum;  ///< d and dmin
  PackedScales scales;
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ4_K) == 144 && std::is_trivially_copyable_v<BlockQ4_K>);

/// The same with a fifth bit of n_i, bit j of high[i mod 32].
struct BlockQ5_K {
  static constexpr int64_t kWeights = 256;
  fp16 scale, minimum;
  PackedScales scales;
  uint8_t high[kWeights / 8];
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ5_K) == 176 && std::is_trivially_copyable_v<BlockQ5_K>);

/// Weight i is d scales[i / 16] (n_i - 32). With h = i / 128 and r = i mod 128, the low four bits of n_i are half of
/// low[64 h + r mod 64], the low one for r < 64, and its high two are bits 2 (r / 32) and above of high[32 h + r mod 32].
struct BlockQ6_K {
  static constexpr int64_t kWeights = 256;
  uint8_t low[kWeights / 2];
  uint8_t high[kWeights / 4];
  int8_t scales[kWeights / 16];
  fp16 scale;
};
static_assert(sizeof(BlockQ6_K) == 210 && std::is_trivially_copyable_v<BlockQ6_K>);

/// Weight i is d s n_i - dmin m; s and m are the low and the high half of scales[i / 16]. n_i, of two bits, is in values[32 (i / 128)
/// + i mod 32] at bit 2 (i mod 128 / 32).
struct BlockQ2_K {
  static constexpr int64_t kWeights = 256;
  uint8_t scales[kWeights / 16];
  uint8_t values[kWeights / 4];
  fp16 scale, minimum;  ///< d and dmin
};
static_assert(sizeof(BlockQ2_K) == 84 && std::is_trivially_copyable_v<BlockQ2_K>);

/// Weight i is d (s_j - 32) (n_i - 4), j = i / 16. The low two bits of n_i are as in Q2_K, the third is bit i / 32 of high[i mod 32].
/// The low four bits of s_j are half of scales[j mod 8], the low one for j < 8, its high two are in scales[8 + j mod 4] at bit 2 (j / 4).
struct BlockQ3_K {
  static constexpr int64_t kWeights = 256;
  uint8_t high[kWeights / 8];
  uint8_t values[kWeights / 4];
  uint8_t scales[12];
  fp16 scale;
};
static_assert(sizeof(BlockQ3_K) == 110 && std::is_trivially_copyable_v<BlockQ3_K>);

/// What four bits stand for in IQ4_NL and IQ4_XS.
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/// Weight i is d kIq4Values[n_i], n_i as in Q4_0.
struct BlockIQ4_NL {
  static constexpr int64_t kWeights = 32;
  fp16 scale;
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockIQ4_NL) == 18 && std::is_trivially_copyable_v<BlockIQ4_NL>);

/// Weight i, in group j = i / 32, is d (s_j - 32) kIq4Values[n_i], n_i as in Q4_0 within the group's 16 bytes of values. The low four bits
/// of s_j are half of low_scales[j / 2], the low one for even j; its high two are in high_scales at bit 2 j.
struct BlockIQ4_XS {
  static constexpr int64_t kWeights = 256;
  fp16 scale;
  uint16_t high_scales;
  uint8_t low_scales[kWeights / 64];
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockIQ4_XS) == 136 && std::is_trivially_copyable_v<BlockIQ4_XS>);

}  // namespace ringflash
