// Q5_0 as GGUF stores it: 32 weights in 22 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"

namespace ringflash {

/// Byte 0-1: scale d (fp16), of either sign. Weight i is d (n_i - 16), n_i in [0, 31]: its low four bits are those of
/// Q4_0's, in bytes 6-21, and its fifth is bit i mod 8 of byte 2 + i / 8.
struct BlockQ5_0 {
  static constexpr int64_t kWeights = 32;
  fp16 scale;
  uint8_t high[kWeights / 8];
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ5_0) == 22 && std::is_trivially_copyable_v<BlockQ5_0>);

}  // namespace ringflash
