// Where the entries of a superblock lie, for its only packer and unpacker (quantize_sparse.cc). A layout stores entry n of
// row r, in the order of the inputs, into a block that was clear()ed, and visits what is there. Scale codes of S8 are the bits of an fp16.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>

#include "format/block_bitmap.h"
#include "format/block_s4.h"
#include "format/block_s8.h"

namespace ringflash {

template <int N>
struct IndexS4 {
  using Block = BlockS4<N>;
  static int64_t bytes() { return sizeof(Block); }
  static void clear(std::byte* block) { std::memset(block, 0, sizeof(Block)); }
  static void store_scale(std::byte* block, int64_t r, int code) { at(block).scales[r] = static_cast<uint8_t>(code); }
  static int load_scale(const std::byte* block, int64_t r) { return at(block).scales[r]; }

  static void store_entry(std::byte* block, int n, int64_t r, int input, int value) {
    const int64_t byte = r * 4 + n % 4;
    at(block).entries[n / 4][r][n % 4] = static_cast<uint8_t>(input | (value >> 2 & 3) << 6);
    at(block).low_bits[n / 4][byte % 16] |= static_cast<uint8_t>((value & 3) << (2 * (byte / 16)));
  }
  /// Calls visit(input, value) for each entry of row r.
  static void each_entry(const std::byte* block, int64_t r, auto visit) {
    for (int n = 0; n < N; ++n) visit(at(block).entries[n / 4][r][n % 4] & 63, s4_value(at(block), n, r));
  }

 private:
  static Block& at(std::byte* block) { return *reinterpret_cast<Block*>(block); }
  static const Block& at(const std::byte* block) { return *reinterpret_cast<const Block*>(block); }
};

template <int N>
struct IndexS8 {
  using Block = BlockS8<N>;
  static int64_t bytes() { return sizeof(Block); }
  static void clear(std::byte* block) { std::memset(block, 0, sizeof(Block)); }
  static void store_scale(std::byte* block, int64_t r, int code) {
    const fp16 scale{static_cast<uint16_t>(code)};
    std::memcpy(block + offsetof(Block, scales) + r * int64_t{sizeof scale}, &scale, sizeof scale);
  }
  static int load_scale(const std::byte* block, int64_t r) {
    fp16 scale;
    std::memcpy(&scale, block + offsetof(Block, scales) + r * int64_t{sizeof scale}, sizeof scale);
    return scale.bits;
  }

  static void store_entry(std::byte* block, int n, int64_t r, int input, int value) {
    const int64_t place = n / 4 * kSparseRows * 4 + r * 4 + n % 4;
    block[place] = static_cast<std::byte>(input);
    block[offsetof(Block, values) + place] = static_cast<std::byte>(value);
  }
  static void each_entry(const std::byte* block, int64_t r, auto visit) {
    for (int n = 0; n < N; ++n) {
      const int64_t place = n / 4 * kSparseRows * 4 + r * 4 + n % 4;
      visit(static_cast<int>(block[place]) & 63, static_cast<int8_t>(block[offsetof(Block, values) + place]));
    }
  }
};

template <SparseBits kBits>
class BitmapLayout {
 public:
  explicit BitmapLayout(int nonzeros) : parts_(kBits, nonzeros) {}
  int64_t bytes() const { return parts_.bytes; }
  void clear(std::byte* block) const {
    std::memset(block, 0, static_cast<size_t>(parts_.bytes));
    if (kBits == SparseBits::k4) std::memset(block, 0x88, static_cast<size_t>(parts_.bitmaps));  // zeros
  }

  void store_scale(std::byte* block, int64_t r, int code) const {
    std::memcpy(block + parts_.scales + r * kScaleBytes, &code, kScaleBytes);
  }
  int load_scale(const std::byte* block, int64_t r) const {
    int code = 0;
    std::memcpy(&code, block + parts_.scales + r * kScaleBytes, kScaleBytes);
    return code;
  }

  void store_entry(std::byte* block, int n, int64_t r, int input, int value) const {
    std::byte* values = block + parts_.values(kBits, r);
    if (!parts_.has_bitmaps()) {
      n = input;
    } else {
      block[parts_.bitmaps + r * 8 + input / 8] |= static_cast<std::byte>(1 << input % 8);
    }
    if constexpr (kBits == SparseBits::k4) {
      values[n] ^= static_cast<std::byte>((value & 15) << (r % 2 * 4));
    } else {
      values[n] = static_cast<std::byte>(value);
    }
  }
  void each_entry(const std::byte* block, int64_t r, auto visit) const {
    uint64_t left = ~uint64_t{0};
    if (parts_.has_bitmaps()) std::memcpy(&left, block + parts_.bitmaps + r * 8, sizeof left);
    for (int n = 0; left != 0; ++n, left &= left - 1) visit(std::countr_zero(left), value(block, n, r));
  }

 private:
  static constexpr int64_t kScaleBytes = kBits == SparseBits::k4 ? 1 : 2;

  int value(const std::byte* block, int n, int64_t r) const {
    const std::byte* values = block + parts_.values(kBits, r);
    if constexpr (kBits == SparseBits::k4) return (static_cast<int>(values[n]) >> (r % 2 * 4) & 15) - 8;
    return static_cast<int8_t>(values[n]);
  }

  BitmapBlock parts_;
};

/// Calls body(layout) with the layout of `bits` and `nonzeros`.
template <SparseBits kBits, typename Body>
decltype(auto) with_layout(int nonzeros, Body&& body) {
  if (is_bitmap_form(nonzeros)) return body(BitmapLayout<kBits>(nonzeros));
  return with_nonzeros(nonzeros, [&]<int N>() {
    if constexpr (kBits == SparseBits::k4) return body(IndexS4<N>());
    else return body(IndexS8<N>());
  });
}

}  // namespace ringflash
