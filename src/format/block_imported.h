// Quantised types of GGUF that are read on import alone, as ggml lays them out. Numbers of several bytes are little
// endian; nothing needs alignment beyond that of fp16.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"

namespace ringflash {

/// Weight i is d (n_i - 16), n_i in [0, 31]: its low four bits as in Q4_0, the fifth is bit i mod 8 of high[i / 8].
struct BlockQ5_0 {
  static constexpr int64_t kWeights = 32;
  fp16 scale;
  uint8_t high[kWeights / 8];
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ5_0) == 22 && std::is_trivially_copyable_v<BlockQ5_0>);

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

}  // namespace ringflash
