// Sixteen rows of each format with products in 8 bits, as int8_panel-inl.h and int8_panel_vnni-inl.h turn them into panels.
#pragma once

#include "kernels/simd/bitmap_codec-inl.h"
#include "kernels/simd/block_formats-inl.h"

namespace ringflash::kernels::RF_ISA {

inline constexpr int64_t kPanelRows = 16;

/// Inputs that share a weight's scale.
inline constexpr int kHalfGroup = static_cast<int>(kInt8Group) / 2;

/// A group of 16 rows as a format reads it: zeros where rows or inputs do not exist.
struct RowGroup {
  alignas(64) int8_t values[kPanelRows][kInt8Group] = {};
  alignas(64) float scales[2][kPanelRows] = {};  ///< of either half of the inputs
  alignas(64) float minima[2][kPanelRows] = {};
};

// Each of the classes below loads a group of `count` rows from `row` on, and says how: whether values are from -8 to 7, and
// whether blocks have a minimum. With one, values are less by kLess than the format has them.

/// Q8_0, Q4_0, Q4_1 and Q5_0.
template <typename Format>
struct BlockRows {
  static constexpr bool kMinimum = Format::kMinimum;
#if RF_LANES == 8
  static constexpr bool kNibbles = Format::kNibbles;
  static constexpr int8_t kLess = kNibbles ? 8 : static_cast<int8_t>(Format::kBias);
#else
  static constexpr int8_t kLess = static_cast<int8_t>(Format::kBias);
#endif
  const typename Format::Block* w;
  int64_t row_blocks;

  void load(int64_t row, int64_t count, int64_t group, RowGroup& out) const {
    const int blocks = row_blocks - 2 * group < 2 ? 1 : 2;
    for (int64_t r = 0; r < count; ++r) {
      const typename Format::Block* block = w + (row + r) * row_blocks + 2 * group;
      __builtin_prefetch(block + kPanelRows * row_blocks);  // of the next panel: no prefetcher follows so many rows
#if RF_LANES == 8
      for (int64_t b = 0; b < blocks; ++b) {
        const Bytes values = Format::values(block[b]) - kLess;
        __builtin_memcpy(out.values[r] + b * kHalfGroup, &values, sizeof values);
        out.scales[b][r] = value_of(block[b].scale);
        if constexpr (kMinimum) out.minima[b][r] = value_of(block[b].minimum);
      }
#else
      const GroupWeights loaded = Format::load(block, blocks);
      const auto values = (UnsignedBytes)loaded.values[0] - static_cast<uint8_t>(kLess);  // wraps
      __builtin_memcpy(out.values[r], &values, sizeof values);
      for (int b = 0; b < blocks; ++b) {
        out.scales[b][r] = loaded.scales[0][b * kLanes / 2];
        if constexpr (kMinimum) out.minima[b][r] = loaded.minima[0][b * kLanes / 2];
      }
#endif
    }
  }
};

/// S4 and S8 in the bitmap form.
template <SparseBits kBits>
struct BitmapRows {
  static constexpr bool kNibbles = kBits == SparseBits::k4, kMinimum = false;
  const BitmapCodec<kBits> codec;
  const std::byte* blocks;
  int64_t groups;

  void load(int64_t row, int64_t count, int64_t group, RowGroup& out) const {
    const std::byte* block = blocks + (row / kSparseRows * groups + group) * codec.block_bytes();
    for (int64_t r = 0; r < count; ++r) codec.expand(block, r, out.values[r]);
    codec.scales(block, out.scales[0]);
    __builtin_memcpy(out.scales[1], out.scales[0], sizeof out.scales[0]);
  }
};

/// Packs 16 rows of a group without a RowGroup; false: there is no such way.
template <typename Source, typename Group>
inline bool pack_whole(const Source&, int64_t, int64_t, Group&) {
  return false;
}

/// Packs a group of `count` rows, 16 at most.
template <typename Source, typename Group>
[[gnu::always_inline]] inline void pack_group(const Source& source, int64_t row, int64_t count, int64_t index, Group& group) {
  if (count >= kPanelRows && pack_whole(source, row, index, group)) return;
  RowGroup rows;
  source.load(row, count < kPanelRows ? count : kPanelRows, index, rows);
  group.pack(rows);
}

/// Turns rows [begin, end) into panels of `groups` groups each; a Group packs a RowGroup.
template <typename Source, typename Group>
inline void pack_panels(const Source& source, int64_t groups, int64_t begin, int64_t end, Group* next) {
  for (int64_t row = begin; row < end; row += kPanelRows) {
    for (int64_t group = 0; group < groups; ++group) pack_group(source, row, end - row, group, *next++);
  }
}

}  // namespace ringflash::kernels::RF_ISA
