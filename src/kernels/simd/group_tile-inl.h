// Tokens times rows of blocks: lanes hold parts of a row's sum. Lane l sums its share of each block in turn, and the lanes
// are added at the end, halves first, whichever tile a result falls into.
#pragma once

#include "kernels/simd/block_formats-inl.h"

namespace ringflash::kernels::RF_ISA {

/// y[t, r * step] = the products of kTokens tokens from `first` on and kRows rows of blocks, the first at w and each
/// `step` rows after the one before. The tokens are of one tile of x.
template <typename Format, int kTokens, int kRows>
[[gnu::always_inline]] inline void int8_tile(const Int8Tokens& x, int64_t first, const typename Format::Block* w,
                                             int64_t step, float* y, int64_t y_stride) {
  constexpr int kVecs = kGroupVecs / kScaleVecs;
  const int64_t row_blocks = x.in / Format::Block::kWeights;
  const int64_t start = x.place(0, first), group_step = x.place(1, first) - start;
  Vec sums[kTokens * kRows] = {};
  const auto add_group = [&](int64_t group, int blocks) __attribute__((always_inline)) {
    const int64_t at = start + group * group_step;
    GroupWeights rows[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const typename Format::Block* block = w + r * step * row_blocks + 2 * group;
      __builtin_prefetch(reinterpret_cast<const char*>(block) + kInt8Prefetch);
      rows[r] = Format::load(block, blocks);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const uint8_t* values = x.values + (at + t) * kInt8Group;
      const Vec scale = broadcast(x.scales[at + t]);
#pragma GCC unroll 2
      for (int s = 0; s < kScaleVecs; ++s) {
        Bytes q[kVecs];
        VecI offset{}, total{};  // what takes the bias out; the sum of q
#pragma GCC unroll 2
        for (int v = 0; v < kVecs; ++v) {
          q[v] = load_signed(values + (s * kVecs + v) * kBytes);
          const Bytes bias = Bytes{} + static_cast<int8_t>(Format::kBias);
          if constexpr (Format::kBias != 0) offset -= dot_unsigned(VecI{}, bias, q[v]);
          if constexpr (Format::kMinimum) total = dot_unsigned(total, Bytes{} + int8_t{1}, q[v]);
        }
        const Vec scaled_total = __builtin_convertvector(total, Vec) * scale;
#pragma GCC unroll 4
        for (int r = 0; r < kRows; ++r) {
          VecI dot = offset;
#pragma GCC unroll 2
          for (int v = 0; v < kVecs; ++v) {
            const Bytes weights = rows[r].values[s * kVecs + v];
            dot = Format::kUnsigned ? dot_unsigned(dot, weights, q[v]) : dot_gathered(dot, q[v], weights);
          }
          sums[t * kRows + r] += __builtin_convertvector(dot, Vec) * (rows[r].scales[s] * scale);
          if constexpr (Format::kMinimum) sums[t * kRows + r] += scaled_total * rows[r].minima[s];
        }
      }
    }
  };
  for (int64_t group = 0; group < x.in / kInt8Group; ++group) add_group(group, 2);
  if (x.in % kInt8Group != 0) add_group(x.in / kInt8Group, 1);
  float totals[kTokens * kRows];
  sum_each<kTokens * kRows>(sums, totals);
  for (int t = 0; t < kTokens; ++t) {
    for (int r = 0; r < kRows; ++r) y[t * y_stride + r * step] = totals[t * kRows + r];
  }
}

}  // namespace ringflash::kernels::RF_ISA
