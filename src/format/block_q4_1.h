// Q4_1 as GGUF stores it: 32 weights in 20 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"

namespace ringflash {

/// Byte 0-1: scale d (fp16). Bytes 2-3: minimum m (fp16). Bytes 4-19: weight i is d n + m, n in [0, 15] being the low half
/// of byte 4 + i for i < 16, else the high half of byte 4 + i - 16.
struct BlockQ4_1 {
  static constexpr int64_t kWeights = 32;
  fp16 scale, minimum;
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ4_1) == 20 && std::is_trivially_copyable_v<BlockQ4_1>);

}  // namespace ringflash
