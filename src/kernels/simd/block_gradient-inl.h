// The weight gradient of block-sparse layers: sums over tokens, so that slots hold pairs of tokens where the table
// multiplies pairs.
#pragma once

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Outs whose sums stay in registers together, with two ins each.
inline constexpr int kGradOuts = kLanes == 8 ? 4 : 8;
typedef float GradOuts __attribute__((vector_size(kGradOuts * sizeof(float))));

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

/// values[in][out] of outs [o, o + kGradOuts) of one entry. x is its column and `next` the next one's, which is fetched
/// meanwhile; dy comes as [tile][vector][kGradOuts][lanes].
[[gnu::always_inline]] inline void gradient_outs(const Slot* x, const Slot* next, const Slot* dy, int64_t tiles, int64_t o,
                                                 bool add, float* values) {
  Vec sum[2 * kGradOuts] = {};
  for (int64_t tile = 0; tile < tiles; ++tile, x += kColumnTile, next += kColumnTile) {
    for (int64_t i = 0; i < kColumnTile; i += 64 / static_cast<int64_t>(sizeof(Slot))) __builtin_prefetch(next + i);
    for (int64_t v = 0; v < kTokenVecs; ++v, dy += kGradOuts * kLanes) {
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
  for (int i = 0; i < 2; ++i) {
    float* target = values + i * kBlockOuts + o;
    GradOuts all, before;
    __builtin_memcpy(&all, totals + i * kGradOuts, sizeof all);
    if (add) {
      __builtin_memcpy(&before, target, sizeof before);
      all += before;
    }
    __builtin_memcpy(target, &all, sizeof all);
  }
}

inline void block_backward_weight(const BlockIndex& index, const float* x, const float* dy, int64_t tiles,
                                  int64_t row, bool add, float* values, const Soon& soon) {
  const int64_t dy_tile = index.rows * kRowSlots * kTileTokens;
  Scratch scratch(tiles * kBlockOuts * kTokenSlots);
  Slot* outs = scratch.take(tiles * kBlockOuts * kTokenSlots);
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t v = 0; v < kTokenVecs; ++v) {
      for (int64_t o = 0; o < kBlockOuts; o += 2) {
        Slot* target = outs + ((o / kGradOuts * tiles + tile) * kTokenVecs + v) * kGradOuts * kLanes + o % kGradOuts * kLanes;
        Vec even, odd;
        split_features(dy + tile * dy_tile + (row * kBlockOuts + o) / kSlotNumbers * kTileTokens, v, even, odd);
        store(target, even);
        store(target + kLanes, odd);
      }
    }
  }
  const int64_t begin = index.row_begin[row], end = begin + index.row_count[row];
  const auto column_of = [&](int64_t entry) { return x + index.entry_column[entry] * tiles * kColumnTile; };
  // Outs outermost: their tokens stay in the first-level cache for all columns.
  SoonAsker asker(soon, (end - begin) * (kBlockOuts / kGradOuts));
  for (int64_t o = 0; o < kBlockOuts; o += kGradOuts) {
    const Slot* these = outs + o * tiles * kTokenSlots;
    for (int64_t entry = begin; entry < end; ++entry) {
      const int64_t next = entry + 1 < end ? entry + 1 : begin;
      asker.turn();
      gradient_outs(column_of(entry), column_of(next), these, tiles, o, add, values + entry * kBlockIns * kBlockOuts);
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
