// The bitmap form of S4 and S8, for N:64 with N above 16: 3.1 bits a weight at 32:64 in S4.
#pragma once

#include <cstdint>

#include "format/sparse_shape.h"

namespace ringflash {

/// Where the parts of a superblock of 16 rows x 64 inputs begin, in bytes:
///
///   values   S4: 8 pairs of rows, N bytes each: q + 8 of value n of the pair's first row in the low half of byte n, of
///            its second in the high one; those past a row's last hold zero. S8: 16 rows of N bytes
///   bitmaps  16 x 64 bits, little-endian: bit i of row r says that input i is there. Not with N = 64.
///   scales   16 x 1 byte as decode_s4_scale() reads it (S4), or fp16 (S8)
///
/// The k-th bit that is set belongs to value k of its row. A row with more than N bits, which no writer makes, goes on
/// reading where the next values begin: what follows is long enough for that.
struct BitmapBlock {
  int64_t nonzeros, bitmaps, scales, bytes;

  [[gnu::always_inline]] constexpr BitmapBlock(SparseBits bits, int n)
      : nonzeros(n),
        bitmaps((bits == SparseBits::k4 ? kSparseRows / 2 : kSparseRows) * n),
        scales(bitmaps + (n < kSparseInputs ? kSparseRows * 8 : 0)),
        bytes(scales + kSparseRows * (bits == SparseBits::k4 ? 1 : 2)) {}

  /// Where row r's values begin.
  [[gnu::always_inline]] constexpr int64_t values(SparseBits bits, int64_t r) const {
    return (bits == SparseBits::k4 ? r / 2 : r) * nonzeros;
  }
  [[gnu::always_inline]] constexpr bool has_bitmaps() const { return scales != bitmaps; }
};
static_assert(BitmapBlock(SparseBits::k4, 32).bytes == 400);    // 3.125 bits a weight
static_assert(BitmapBlock(SparseBits::k4, 64).bytes == 528);    // 4.125
static_assert(BitmapBlock(SparseBits::k8, 32).bytes == 672);    // 5.25

}  // namespace ringflash
