// The weight gradient of block-sparse layers on AMX tiles: 16 ins x 32 tokens times 32 tokens x 16 outs.
#pragma once

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Copies a unit's features: [16 ins][16 token pairs].
[[gnu::always_inline]] inline void gather_ins(const Slot* x, const int32_t* columns, Slot* ins) {
#pragma GCC unroll 8
  for (int64_t j = 0; j < BlockIndex::kUnit; ++j) {
    Vec even, odd;
    split_features(x + columns[j] * kTileTokens, 0, even, odd);
    store(ins + 2 * j * kLanes, even);
    store(ins + (2 * j + 1) * kLanes, odd);
  }
}

/// Numbers of a unit's gradient.
inline constexpr int64_t kUnitValues = BlockIndex::kUnit * kBlockIns * kBlockOuts;

/// values (+)= for kUnits units next to each other, whose products' sums are tiles 0 to 3.
template <int kUnits>
inline void gradient_units(const Slot* x, int64_t x_tile, const int32_t* columns, const Slot* outs, int64_t tiles,
                           bool add, float* values, SoonAsker& soon) {
  alignas(64) Slot ins[kUnits][2][BlockIndex::kUnit * kBlockIns * kTokenSlots];
  settle_memory();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  if (add) {
    _tile_loadd(0, values, 64);
    if constexpr (kUnits > 1) _tile_loadd(1, values + kUnitValues, 64);
    if constexpr (kUnits > 2) _tile_loadd(2, values + 2 * kUnitValues, 64);
    if constexpr (kUnits > 3) _tile_loadd(3, values + 3 * kUnitValues, 64);
  }
  for (int64_t tile = 0; tile < tiles; ++tile, x += x_tile, outs += kBlockOuts * kTokenSlots) {
    const int64_t turn = tile % 2;
    soon.turn();
    for (int unit = 0; unit < kUnits; ++unit) gather_ins(x, columns + unit * BlockIndex::kUnit, ins[unit][turn]);
    settle_memory();
    _tile_loadd(7, outs, 64);
    _tile_loadd(4, ins[0][turn], 64);
    _tile_dpbf16ps(0, 4, 7);
    if constexpr (kUnits > 1) _tile_loadd(5, ins[1][turn], 64);
    if constexpr (kUnits > 1) _tile_dpbf16ps(1, 5, 7);
    if constexpr (kUnits > 2) _tile_loadd(6, ins[2][turn], 64);
    if constexpr (kUnits > 2) _tile_dpbf16ps(2, 6, 7);
    if constexpr (kUnits > 3) _tile_loadd(4, ins[3][turn], 64);
    if constexpr (kUnits > 3) _tile_dpbf16ps(3, 4, 7);
    settle_memory();
  }
  _tile_stored(0, values, 64);
  if constexpr (kUnits > 1) _tile_stored(1, values + kUnitValues, 64);
  if constexpr (kUnits > 2) _tile_stored(2, values + 2 * kUnitValues, 64);
  if constexpr (kUnits > 3) _tile_stored(3, values + 3 * kUnitValues, 64);
  settle_memory();
}

inline void block_backward_weight(const BlockIndex& index, const float* x, const float* dy, int64_t tiles,
                                  int64_t row, bool add, float* values, const Soon& soon) {
  const ProductSession session;
  const int64_t x_tile = index.columns * kTileTokens, dy_tile = index.rows * kRowSlots * kTileTokens;
  Scratch scratch(tiles * kBlockOuts * kTokenSlots);
  Slot* outs = scratch.take(tiles * kBlockOuts * kTokenSlots);
  gather_outs(dy + row * kRowSlots * kTileTokens, dy_tile, tiles, outs);
  const int32_t* columns = index.entry_column + index.row_begin[row];
  values += index.row_begin[row] * kBlockIns * kBlockOuts;
  int64_t units = (index.row_count[row] + BlockIndex::kUnit - 1) / BlockIndex::kUnit;
  SoonAsker asker(soon, (units + 3) / 4 * tiles);
  while (units > 0) {
    // One unit alone would wait for its own sums: the last ones share out evenly.
    const int64_t now = units > 4 && units < 8 ? (units + 1) / 2 : smaller(units, 4);
    switch (now) {
      case 1: gradient_units<1>(x, x_tile, columns, outs, tiles, add, values, asker); break;
      case 2: gradient_units<2>(x, x_tile, columns, outs, tiles, add, values, asker); break;
      case 3: gradient_units<3>(x, x_tile, columns, outs, tiles, add, values, asker); break;
      default: gradient_units<4>(x, x_tile, columns, outs, tiles, add, values, asker); break;
    }
    units -= now;
    columns += now * BlockIndex::kUnit;
    values += now * kUnitValues;
  }
}

}  // namespace ringflash::kernels::RF_ISA
