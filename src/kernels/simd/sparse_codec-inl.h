// What the entries of S4 and S8 hold, as vectors: a lane is a row, its bytes four entries of one step.
#pragma once

#include "format/block_s4.h"
#include "format/block_s8.h"
#include "kernels/simd/bytes-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Vectors to the 16 rows of a superblock.
inline constexpr int kRowParts = kSparseRows / kLanes;

template <int N>
struct CodecS4 {
  using Block = BlockS4<N>;
  VecI base;  ///< added to the scale codes' bits
  explicit CodecS4(const SparseFormat& format) : base(VecI{} + ((format.base + 127) << 23)) {}

  static Bytes index(const Block& block, int part, int step) {
    return load_bytes(&block.entries[step][part * kLanes][0]);
  }
  /// 16 times the value: its bits are the upper half of a byte, and the lower one is zero.
  static Bytes weight(const Block& block, int part, int step) {
    const Bytes low = load_low_bits(block.low_bits[step], part);
    return select_bits(static_cast<int8_t>(0xc0), index(block, part, step), low, static_cast<int8_t>(0xf0));
  }
  Vec scale(const Block& block, int part) const {
    return from_bits((load_u8(block.scales + part * kLanes) << 19) + base) * 0x1p-4f;
  }
};

template <int N>
struct CodecS8 {
  using Block = BlockS8<N>;
  explicit CodecS8(const SparseFormat&) {}

  static Bytes index(const Block& block, int part, int step) {
    return load_bytes(&block.inputs[step][part * kLanes][0]);
  }
  static Bytes weight(const Block& block, int part, int step) {
    return load_bytes(&block.values[step][part * kLanes][0]);
  }
  static Vec scale(const Block& block, int part) { return load(block.scales + part * kLanes); }
};

/// Calls body.operator()<N>() for the N of is_index_form() that `nonzeros` is. (format's own is no template of this
/// instruction set's.)
template <typename Body>
inline void with_form(int nonzeros, const Body& body) {
  switch (nonzeros) {
    case 4:
      return body.template operator()<4>();
    case 8:
      return body.template operator()<8>();
    case 12:
      return body.template operator()<12>();
    default:
      return body.template operator()<16>();
  }
}

}  // namespace ringflash::kernels::RF_ISA
