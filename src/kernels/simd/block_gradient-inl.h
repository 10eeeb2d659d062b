// The weight gradient of block-sparse layers: sums over tokens, so that slots hold pairs of tokens where the table
// multiplies pairs. Lanes are outs, so that nothing is added up across them; numbers of x are broadcast.
#pragma once

#include <type_traits>

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Entries whose sums stay in registers together: two ins and all outs of each.
inline constexpr int kGradEntries = kLanes == 8 ? 3 : 8;
inline constexpr int kOutVecs = static_cast<int>(kBlockOuts) / kLanes;

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

/// values[entry][2 ins][16 outs] (+)= for kEntries entries side by side, whose columns begin at x + columns[entry] * column.
template <int kEntries>
inline void gradient_entries(const Slot* x, int64_t column, const int32_t* columns, const Slot* outs, int64_t tiles,
                             bool add, float* values, SoonAsker& soon) {
  const Slot* ins[kEntries];
  for (int e = 0; e < kEntries; ++e) ins[e] = x + columns[e] * column;
  Vec sum[kEntries][kBlockIns][kOutVecs] = {};
  for (int64_t tile = 0; tile < tiles; ++tile) {
    soon.turn();
    const int64_t place = tile * kColumnTile;
    for (int64_t s = 0; s < kTokenSlots; ++s, outs += kBlockOuts) {
      Vec out[kOutVecs];
#pragma GCC unroll 2
      for (int v = 0; v < kOutVecs; ++v) out[v] = load(outs + v * kLanes);
#pragma GCC unroll 8
      for (int e = 0; e < kEntries; ++e) {
#pragma GCC unroll 2
        for (int i = 0; i < kBlockIns; ++i) {
          const Vec in = broadcast_slot(ins[e] + place + i * kTokenSlots + s);
#pragma GCC unroll 2
          for (int v = 0; v < kOutVecs; ++v) sum[e][i][v] = multiply_add(out[v], in, sum[e][i][v]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int e = 0; e < kEntries; ++e) {
#pragma GCC unroll 2
    for (int i = 0; i < kBlockIns; ++i) {
#pragma GCC unroll 2
      for (int v = 0; v < kOutVecs; ++v, values += kLanes) {
        store(values, add ? load(values) + sum[e][i][v] : sum[e][i][v]);
      }
    }
  }
}

inline void block_backward_weight(const BlockIndex& index, const float* x, const float* dy, int64_t tiles,
                                  int64_t row, bool add, float* values, const Soon& soon) {
  Scratch scratch(tiles * kTokenSlots * kBlockOuts);
  Slot* outs = scratch.take(tiles * kTokenSlots * kBlockOuts);
  gather_outs(dy + row * kRowSlots * kTileTokens, index.rows * kRowSlots * kTileTokens, tiles, outs);
  const int32_t* columns = index.entry_column + index.row_begin[row];
  values += index.row_begin[row] * kBlockIns * kBlockOuts;
  const int64_t count = index.row_count[row], column = tiles * kColumnTile;
  SoonAsker asker(soon, (count + kGradEntries - 1) / kGradEntries * tiles);
  const auto add_entries = [&]<int kEntries>(int64_t entry, std::integral_constant<int, kEntries>) {
    gradient_entries<kEntries>(x, column, columns + entry, outs, tiles, add, values + entry * kBlockIns * kBlockOuts, asker);
  };
  // The last group may hold entries that mean nothing, where there is room for them.
  const int64_t room = index.row_begin[row + 1] - index.row_begin[row];
  constexpr bool kWholeGroups = BlockIndex::kChunk % kGradEntries == 0;
  int64_t entry = 0;
  for (; entry < count && (kWholeGroups || entry + kGradEntries <= room); entry += kGradEntries) {
    add_entries(entry, std::integral_constant<int, kGradEntries>());
  }
  for (; !kWholeGroups && entry < count; ++entry) add_entries(entry, std::integral_constant<int, 1>());
}

}  // namespace ringflash::kernels::RF_ISA
