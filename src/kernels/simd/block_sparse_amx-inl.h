// Block-sparse products on AMX tiles: 16 x 32 times 32 x 16 numbers at once. What a pattern leaves lies scattered, so
// each product copies the rows it needs side by side first: 16 lines of 64 bytes for each multiplication, which
// takes the copying ports about as long as the multiplier.
#pragma once

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

// ---- Forward: outs x entries times entries x tokens ----

/// Copies the tokens of one chunk's columns: rows of kTiles * 32 slots, zeros past the last column that is meant.
template <int kTiles>
[[gnu::always_inline]] inline void gather_columns(const int32_t* columns, int64_t meant, const Slot* x,
                                                  int64_t x_tile, Slot* gathered) {
  for (int64_t j = 0; j < BlockIndex::kChunk; ++j, gathered += kTiles * kTileTokens) {
    const Slot* source = x + columns[j] * kTileTokens;
#pragma GCC unroll 2
    for (int tile = 0; tile < kTiles; ++tile) {
      const Vec low = load(source + tile * x_tile), high = load(source + tile * x_tile + kLanes);
      store(gathered + tile * kTileTokens, j < meant ? low : Vec{});
      store(gathered + tile * kTileTokens + kLanes, j < meant ? high : Vec{});
    }
  }
}

/// Tiles 0 to 3 hold the sums of 16 tokens each, those of odd chunks apart where there are but 32 tokens.
template <int kTiles>
inline void multiply_chunk(const Slot* weights, const Slot* gathered, bool odd) {
  constexpr int64_t kRowBytes = kTiles * kTileTokens * sizeof(Slot);
  _tile_loadd(4, weights, 64);
  _tile_loadd(5, gathered, kRowBytes);
  _tile_loadd(6, gathered + 16, kRowBytes);
  if constexpr (kTiles == 2) {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 6);
    _tile_loadd(5, gathered + 32, kRowBytes);
    _tile_loadd(7, gathered + 48, kRowBytes);
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 7);
  } else if (odd) {
    _tile_dpbf16ps(2, 4, 5);
    _tile_dpbf16ps(3, 4, 6);
  } else {
    _tile_dpbf16ps(0, 4, 5);
    _tile_dpbf16ps(1, 4, 6);
  }
}

/// The sums of a row as tokens of 16 features. `sums` is [4][16 outs][16 tokens].
template <int kTiles>
inline void store_row(const float* sums, int64_t y_tile, Slot* y) {
  for (int64_t part = 0; part < 2 * kTiles; ++part) {
    Slot* target = y + part / 2 * y_tile + part % 2 * kLanes;
    for (int64_t o = 0; o < kBlockOuts; o += 2) {
      const float* row = sums + (part * kBlockOuts + o) * kLanes;
      Vec even = load(row), odd = load(row + kLanes);
      if constexpr (kTiles == 1) {
        even += load(row + 2 * kBlockOuts * kLanes);
        odd += load(row + (2 * kBlockOuts + 1) * kLanes);
      }
      store_right(target + o / 2 * kTileTokens, kTileTokens, even, odd);
    }
  }
}

template <int kTiles>
inline void forward_tiles(const BlockIndex& index, const Slot* weights, const Slot* x, Slot* y, const Soon& soon) {
  constexpr int64_t kGathered = BlockIndex::kChunk * kTiles * kTileTokens, kSums = 4 * kBlockOuts * kLanes;
  const int64_t x_tile = index.columns * kTileTokens, y_tile = index.rows * kRowSlots * kTileTokens;
  alignas(64) Slot gathered[2][kGathered];
  alignas(64) float sums[kSums];
  SoonAsker asker(soon, index.row_begin[index.rows] / BlockIndex::kChunk);
  for (int64_t row = 0; row < index.rows; ++row) {
    const int64_t begin = index.row_begin[row], count = index.row_count[row];
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    // Tile loads wait until what was just stored has reached the cache: a chunk is copied while the one before it is
    // multiplied.
    const auto gather = [&](int64_t first) {
      gather_columns<kTiles>(index.entry_column + begin + first, count - first, x, x_tile,
                             gathered[first / BlockIndex::kChunk % 2]);
      settle_memory();
    };
    if (count > 0) gather(0);
    for (int64_t first = 0; first < count; first += BlockIndex::kChunk) {
      if (first + BlockIndex::kChunk < count) gather(first + BlockIndex::kChunk);
      asker.turn();
      const int64_t odd = first / BlockIndex::kChunk % 2;
      multiply_chunk<kTiles>(weights + (begin + first) * kEntrySlots, gathered[odd], odd);
      settle_memory();
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + kSums / 4, 64);
    _tile_stored(2, sums + kSums / 2, 64);
    _tile_stored(3, sums + kSums / 4 * 3, 64);
    settle_memory();
    store_row<kTiles>(sums, y_tile, y + row * kRowSlots * kTileTokens);
  }
}

inline void block_forward(const BlockIndex& index, const void* weights, const float* x, float* y, int64_t tiles,
                          const Soon& soon) {
  const ProductSession session;
  const Slot* packed = static_cast<const Slot*>(weights);
  if (tiles == 2) {
    forward_tiles<2>(index, packed, x, y, soon);
  } else {
    forward_tiles<1>(index, packed, x, y, soon);
  }
}

// ---- Input gradient: 16 ins x 32 outs times 32 outs x tokens ----
//
// A column's sums are two rows only, and every row of tiles has other columns. So the left factor is made of the 8
// next columns that are active in either of two rows of tiles, and its product is added to those columns' sums.

/// Slots of one unit of the transposed form: [16 ins][32 outs] numbers.
inline constexpr int64_t kUnitSlots = BlockIndex::kUnit * kBlockIns * 2 * kBlockOuts / kSlotNumbers;

inline int64_t transposed_numbers(const BlockIndex& index) {
  return index.pair_begin[index.row_pairs] * kBlockIns * 2 * kBlockOuts;
}

/// Where the entry of `row` and `column` is, looking from `entry` on, which is left behind it; -1 without one.
inline bool next_is(const BlockIndex& index, int64_t row, int64_t& entry, int32_t column) {
  if (row >= index.rows || entry == index.row_begin[row] + index.row_count[row]) return false;
  if (index.entry_column[entry] != column) return false;
  ++entry;
  return true;
}

inline void pack_weights(const BlockIndex& index, const float* weight, int64_t row_pair, void* forward,
                         void* transposed) {
  const int64_t row = 2 * row_pair, in = index.columns * kBlockIns;
  pack_row(index, weight, row, static_cast<Slot*>(forward));
  if (row + 1 < index.rows) pack_row(index, weight, row + 1, static_cast<Slot*>(forward));
  int64_t entry[2] = {index.row_begin[row], index.row_begin[row + 1]};
  Slot* target = static_cast<Slot*>(transposed) + index.pair_begin[row_pair] * kUnitSlots / BlockIndex::kUnit;
  const int64_t length = index.pair_begin[row_pair + 1] - index.pair_begin[row_pair];
  for (int64_t k = 0; k < length; ++k) {
    const int32_t column = index.pair_column[index.pair_begin[row_pair] + k];
    float numbers[kBlockIns][2 * kBlockOuts] = {};
    for (int64_t r = 0; r < 2 && k < index.pair_count[row_pair]; ++r) {
      if (!next_is(index, row + r, entry[r], column)) continue;
      const float* source = weight + (row + r) * kBlockOuts * in + column * kBlockIns;
      for (int64_t o = 0; o < kBlockOuts; ++o) {
        numbers[0][r * kBlockOuts + o] = source[o * in];
        numbers[1][r * kBlockOuts + o] = source[o * in + 1];
      }
    }
    for (int64_t i = 0; i < kBlockIns; ++i, target += kLanes) store_numbers(target, numbers[i]);
  }
}

/// Adds a unit's product, [16 ins][32 tokens], to the sums of its columns.
inline void add_unit(const float* product, const int32_t* columns, int64_t meant, float* sums) {
  for (int64_t j = 0; j < meant; ++j, product += kBlockIns * kTileTokens) {
    float* target = sums + columns[j] * kBlockIns * kTileTokens;
#pragma GCC unroll 4
    for (int64_t t = 0; t < kBlockIns * kTileTokens; t += kLanes) {
      store(target + t, load(target + t) + load(product + t));
    }
  }
}

/// The outs of a pair of rows as a right factor in tiles 6 and 7.
inline void load_outs(const BlockIndex& index, const Slot* dy, int64_t row_pair) {
  const Slot* outs = dy + 2 * row_pair * kRowSlots * kTileTokens;
  alignas(64) Slot half[2 * kRowSlots * kTileTokens] = {};
  if (2 * row_pair + 1 == index.rows) {
    __builtin_memcpy(half, outs, sizeof half / 2);
    outs = half;
  }
  settle_memory();
  _tile_loadd(6, outs, kTileTokens * sizeof(Slot));
  _tile_loadd(7, outs + 16, kTileTokens * sizeof(Slot));
  settle_memory();
}

inline void block_backward_input(const BlockIndex& index, const void* transposed, const float* dy, float* dx,
                                 const Soon& soon) {
  constexpr int64_t kProduct = BlockIndex::kUnit * kBlockIns * kTileTokens;
  const ProductSession session;
  const int64_t ins = index.columns * kBlockIns;
  Scratch scratch(ins * kTileTokens);
  float* sums = scratch.take(ins * kTileTokens);
  for (int64_t i = 0; i < ins * kTileTokens; i += kLanes) store(sums + i, Vec{});
  alignas(64) float product[2][kProduct];
  SoonAsker asker(soon, index.pair_begin[index.row_pairs] / BlockIndex::kUnit);
  for (int64_t row_pair = 0; row_pair < index.row_pairs; ++row_pair) {
    load_outs(index, dy, row_pair);
    const int64_t begin = index.pair_begin[row_pair], count = index.pair_count[row_pair];
    const int32_t* columns = index.pair_column + begin;
    const Slot* weights = static_cast<const Slot*>(transposed) + begin * kUnitSlots / BlockIndex::kUnit;
    // A product is added while the next one is under way.
    for (int64_t first = 0; first < count; first += BlockIndex::kUnit, weights += kUnitSlots) {
      float* target = product[first / BlockIndex::kUnit % 2];
      asker.turn();
      _tile_loadd(4, weights, 64);
      _tile_zero(0);
      _tile_zero(1);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      _tile_stored(0, target, kTileTokens * sizeof(float));
      _tile_stored(1, target + 16, kTileTokens * sizeof(float));
      settle_memory();
      if (first > 0) {
        const int64_t last = first - BlockIndex::kUnit;
        add_unit(product[last / BlockIndex::kUnit % 2], columns + last, BlockIndex::kUnit, sums);
      }
    }
    if (count > 0) {
      const int64_t last = (count - 1) / BlockIndex::kUnit * BlockIndex::kUnit;
      add_unit(product[last / BlockIndex::kUnit % 2], columns + last, count - last, sums);
    }
  }
  store_sums(sums, index.columns, dx);
}

}  // namespace ringflash::kernels::RF_ISA
