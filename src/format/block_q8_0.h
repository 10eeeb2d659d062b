// Q8_0 as GGUF stores it: 32 weights in 34 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"

namespace ringflash {

/// Byte 0-1: scale d (fp16). Bytes 2-33: 32 signed values q in [-127, 127]. Weight i = d * q[i].
struct BlockQ8_0 {
  static constexpr int64_t kWeights = 32;
  fp16 scale;
  int8_t values[kWeights];
};
static_assert(sizeof(BlockQ8_0) == 34 && std::is_trivially_copyable_v<BlockQ8_0>);

}  // namespace ringflash
