// The weight gradient of block-sparse layers: sums over tokens, so that slots hold pairs of tokens where the table
// multiplies pairs.
#pragma once

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Outs whose sums stay in registers together, with two ins each.
inline constexpr int kGradOuts = kLanes == 8 ? 4 : 8;

/// A column's tokens of a tile: [2 ins][kTokenSlots].
inline constexpr int64_t kColumnTile = kColumnSlots * kTileTokens;

/// Tiles lie a power of two apart where layers are wide, so that the same column of several would share a set of a cache.
inline void block_gather_columns(const BlockIndex& index, const float* x, int64_t tiles, int64_t begin, int64_t end,
                                 float* columns) {
  for (int64_t tile = 0; tile < tiles; ++tile, x += index.columns * kColumnTile) {
    for (int64_t column = begin; column < end; ++column) {
      Slot* to = columns + (column * tiles + tile) * kColumnTile;
      for (int64_t v = 0; v < kTokenVecs; ++v) {
        Vec even, odd;
        split_features(x + column * kColumnTile, v, even, odd);
        store(to + v * kLanes, even);
        store(to + kTokenSlots + v * kLanes, odd);
      }
    }
  }
}

/// values[in][out] of outs [o, o + kGradOuts) of one entry. x is its column, dy comes as [tile][vector][16 outs][lanes].
[[gnu::always_inline]] inline void gradient_outs(const Slot* x, const Slot* dy, int64_t tiles, int64_t o, bool add,
                                                 float* values) {
  Vec sum[2 * kGradOuts] = {};
  dy += o * kLanes;
  for (int64_t tile = 0; tile < tiles; ++tile, x += kColumnTile) {
    for (int64_t v = 0; v < kTokenVecs; ++v, dy += kBlockOuts * kLanes) {
      const Vec even = load(x + v * kLanes), odd = load(x + kTokenSlots + v * kLanes);
#pragma GCC unroll 8
      for (int k = 0; k < kGradOuts; ++k) {
        const Vec out = load(dy + k * kLanes);
        sum[k] = multiply_add(out, even, sum[k]);
        sum[kGradOuts + k] = multiply_add(out, odd, sum[kGradOuts + k]);
      }
    }
  }
  float totals[2 * kGradOuts];
  sum_each<2 * kGradOuts>(sum, totals);
  for (int k = 0; k < kGradOuts; ++k) {
    float* target = values + o + k;
    target[0] = totals[k] + (add ? target[0] : 0.0f);
    target[kBlockOuts] = totals[kGradOuts + k] + (add ? target[kBlockOuts] : 0.0f);
  }
}

inline void block_backward_weight(const BlockIndex& index, const float* x, const float* dy, int64_t tiles,
                                  int64_t row, bool add, float* values) {
  const int64_t dy_tile = index.rows * kRowSlots * kTileTokens;
  Scratch scratch(tiles * kBlockOuts * kTokenSlots);
  Slot* outs = scratch.take(tiles * kBlockOuts * kTokenSlots);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t v = 0; v < kTokenVecs; ++v) {
      Slot* target = outs + (tile * kTokenVecs + v) * kBlockOuts * kLanes;
      for (int64_t o = 0; o < kBlockOuts; o += 2) {
        Vec even, odd;
        split_features(dy + tile * dy_tile + (row * kBlockOuts + o) / kSlotNumbers * kTileTokens, v, even, odd);
        store(target + o * kLanes, even);
        store(target + (o + 1) * kLanes, odd);
      }
    }
  }
  const int64_t begin = index.row_begin[row];
  for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
    const Slot* column = x + index.entry_column[entry] * tiles * kColumnTile;
    for (int64_t o = 0; o < kBlockOuts; o += kGradOuts) {
      gradient_outs(column, outs, tiles, o, add, values + entry * kBlockIns * kBlockOuts);
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
