// Q4_0 as GGUF stores it: 32 weights in 18 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"

namespace ringflash {

/// Byte 0-1: scale d (fp16). Bytes 2-17: weight i is d * (n - 8), n in [0, 15] being the low half of byte 2 + i for
/// i < 16, else the high half of byte 2 + i - 16.
struct BlockQ4_0 {
  static constexpr int64_t kWeights = 32;
  fp16 scale;
  uint8_t values[kWeights / 2];
};
static_assert(sizeof(BlockQ4_0) == 18 && std::is_trivially_copyable_v<BlockQ4_0>);

}  // namespace ringflash
