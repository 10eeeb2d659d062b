// S8: sparse 8-bit weights, 26 bytes for 64 weights at N = 12.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/float16.h"
#include "format/sparse_shape.h"

namespace ringflash {

/// 16 rows x 64 inputs with N entries a row, 32 N + 32 bytes. Entry n of row r adds values[n / 4][r][n % 4] * scales[r]
/// to the weight of the group's input that the low 6 bits of inputs[n / 4][r][n % 4] name; the bits above are ignored.
template <int N>
struct BlockS8 {
  static_assert(is_index_form(N));
  uint8_t inputs[N / 4][kSparseRows][4];
  int8_t values[N / 4][kSparseRows][4];  ///< in [-127, 127]
  fp16 scales[kSparseRows];
};
static_assert(sizeof(BlockS8<12>) == 26 * 16 && std::is_trivially_copyable_v<BlockS8<12>>);
static_assert(sizeof(BlockS8<4>) == 160 && sizeof(BlockS8<8>) == 288 && sizeof(BlockS8<16>) == 544);

}  // namespace ringflash
