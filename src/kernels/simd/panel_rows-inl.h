// Rows of each format as int8_panel-inl.h takes them, and the passes of all tokens over them.
#pragma once

#include "kernels/simd/bitmap_codec-inl.h"
#include "kernels/simd/int8_panel-inl.h"

namespace ringflash::kernels::RF_ISA {

template <bool kNibbles>
struct NumbersOf {
  using Type = PanelWords;
};

template <>
struct NumbersOf<true> {
  using Type = PanelNibbles;
};

// Each of the classes below loads a group of `count` rows from `row` on, and says how: in which numbers, and whether blocks
// have a minimum.

/// Q8_0, Q4_0 and Q4_1.
template <typename Format>
struct BlockRows {
  using Numbers = typename NumbersOf<Format::kUnsigned>::Type;
  static constexpr bool kMinimum = Format::kMinimum;
  /// What makes the values signed.
  static constexpr int8_t kLess = Format::kUnsigned ? 8 : 0;
  const typename Format::Block* w;
  int64_t row_blocks;

  void load(int64_t row, int64_t count, int64_t group, RowGroup& out) const {
    const int64_t blocks = row_blocks - 2 * group < 2 ? 1 : 2;
    for (int64_t r = 0; r < count; ++r) {
      for (int64_t b = 0; b < blocks; ++b) {
        const auto& block = w[(row + r) * row_blocks + 2 * group + b];
        const Bytes values = Format::values(block) - kLess;
        __builtin_memcpy(out.values[r] + b * kBytes, &values, sizeof values);
        out.scales[b][r] = value_of(block.scale);
        if constexpr (kMinimum) out.minima[b][r] = value_of(block.minimum);
      }
    }
  }
};

/// S4 and S8 in the bitmap form.
template <SparseBits kBits>
struct BitmapRows {
  using Numbers = typename NumbersOf<kBits == SparseBits::k4>::Type;
  static constexpr bool kMinimum = false;
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

/// y[t, o] for all tokens and o in [begin, end).
template <typename Source>
inline void multiply_panels(const Int8Tokens& x, const Source& source, float* y, int64_t y_stride, int64_t begin,
                            int64_t end) {
  using Group = PanelGroup<typename Source::Numbers>;
  using Tokens = TokenGroup<Source>;
  const int64_t groups = x.groups(), fit = kPanelBytes / (groups * static_cast<int64_t>(sizeof(Group)));
  const int64_t panels = fit < 1 ? 1 : fit > 8 ? 8 : fit;
  constexpr int64_t kGroupFloats = sizeof(Group) / sizeof(float), kTokenFloats = sizeof(Tokens) / sizeof(float);
  Scratch scratch((panels * kGroupFloats + kTokenFloats) * groups);
  auto* packed = reinterpret_cast<Group*>(scratch.take(panels * groups * kGroupFloats));
  auto* tokens = reinterpret_cast<Tokens*>(scratch.take(groups * kTokenFloats));
  const auto rows_from = [&](int64_t row) { return end - row < kPanelRows ? end - row : kPanelRows; };
  for (int64_t from = begin; from < end; from += panels * kPanelRows) {
    const int64_t to = from + panels * kPanelRows < end ? from + panels * kPanelRows : end;
    Group* next = packed;
    for (int64_t row = from; row < to; row += kPanelRows) {
      for (int64_t group = 0; group < groups; ++group) {
        RowGroup rows;
        source.load(row, rows_from(row), group, rows);
        (next++)->pack(rows);
      }
    }
    for (int64_t first = 0; first < x.tokens; first += kPanelTokens) {
      const int64_t count = x.tokens - first < kPanelTokens ? x.tokens - first : kPanelTokens;
      for (int64_t group = 0; group < groups; ++group) tokens[group].load(x, group, first, count);
      for (int64_t row = from; row < to; row += kPanelRows) {
        float products[kPanelTokens][kPanelRows];
        multiply_panel<Source>(packed + (row - from) / kPanelRows * groups, groups, tokens, products);
        const auto bytes = static_cast<size_t>(rows_from(row)) * sizeof(float);
        for (int64_t t = 0; t < count; ++t) __builtin_memcpy(y + (first + t) * y_stride + row, products[t], bytes);
      }
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
