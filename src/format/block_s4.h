// S4: sparse 4-bit weights, 2 bits a weight at N = 12.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "format/sparse_shape.h"

namespace ringflash {

/// 16 rows x 64 inputs with N entries a row, 20 N + 16 bytes. Entry n of row r is a pair of an input and a value q in
/// [-8, 7], and adds q * scale(r) to that input's weight. In a matrix product a row is a 32-bit lane, and its four
/// entries of one step n / 4 are the bytes of that lane; the entries' inputs gather the activations.
template <int N>
struct BlockS4 {
  static_assert(is_index_form(N));
  /// Entry n of row r is entries[n / 4][r][n % 4]: bits 0-5 the input within the group, bits 6-7 of it bits 2-3 of q.
  uint8_t entries[N / 4][kSparseRows][4];
  /// Bits 0-1 of the q of entry n of row r: with byte b = r * 4 + n % 4, bits 2 * (b / 16) and up of
  /// low_bits[n / 4][b % 16].
  uint8_t low_bits[N / 4][16];
  /// Row r's scale, as decode_s4_scale() reads it.
  uint8_t scales[kSparseRows];
};
static_assert(sizeof(BlockS4<12>) == 256 && std::is_trivially_copyable_v<BlockS4<12>>);
static_assert(sizeof(BlockS4<4>) == 96 && sizeof(BlockS4<8>) == 176 && sizeof(BlockS4<16>) == 336);

/// A tensor's base exponent is in this range, so that all scales are normal floats and no sum of N entries overflows.
inline constexpr int kMinS4Base = -126, kMaxS4Base = 83;

/// (1 + (code % 16) / 16) * 2^(code / 16 + base): the codes are the upper bits of a float.
inline float decode_s4_scale(uint8_t code, int base) {
  return std::bit_cast<float>((static_cast<uint32_t>(code) << 19) + (static_cast<uint32_t>(base + 127) << 23));
}

/// q of entry n of row r.
template <int N>
int s4_value(const BlockS4<N>& block, int n, int64_t r) {
  const int64_t byte = r * 4 + n % 4;
  const int low = block.low_bits[n / 4][byte % 16] >> (2 * (byte / 16)) & 3;
  const int unsigned_value = block.entries[n / 4][r][n % 4] >> 6 << 2 | low;
  return (unsigned_value ^ 8) - 8;
}

}  // namespace ringflash
