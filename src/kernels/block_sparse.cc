#include "kernels/block_sparse.h"

#include <algorithm>
#include <memory>

#include "base/aligned.h"
#include "base/check.h"

namespace ringflash::kernels {
namespace {

/// Inputs that weight gradients are summed over at a time: many, as lanes are added up after each such span, but no more than a
/// cache keeps for all rows.
constexpr int64_t kSpanBytes = 1 << 20, kGatheredSpanBytes = 2 << 20;

/// Columns that are gathered by a task: what they are in a tile lies side by side.
constexpr int64_t kGatheredColumns = 64;

/// The packed activations of one tile.
int64_t tile_slots(int64_t width, const Table& table) { return slots_of(width, table) * kTileTokens; }

/// Writes the values of one row of tiles to where W has them.
void scatter_row(const BlockIndex& index, const float* values, int64_t row, float* gradient) {
  const int64_t in = index.columns * kBlockIns, begin = index.row_begin[row];
  for (int64_t o = 0; o < kBlockOuts; ++o) {
    float* target = gradient + (row * kBlockOuts + o) * in;
    for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
      const float* value = values + entry * kBlockIns * kBlockOuts + o;
      target[index.entry_column[entry] * kBlockIns] = value[0];
      target[index.entry_column[entry] * kBlockIns + 1] = value[kBlockOuts];
    }
  }
}

void gather_columns(const BlockIndex& index, const float* x, int64_t tiles, const Table& table, Executor& executor,
                    float* columns) {
  executor.for_each((index.columns + kGatheredColumns - 1) / kGatheredColumns, [&](int64_t task) {
    const int64_t begin = task * kGatheredColumns, end = std::min(begin + kGatheredColumns, index.columns);
    table.block.gather_columns(index, x, tiles, begin, end, columns);
  });
}

}  // namespace

BlockWeightSizes block_weight_sizes(const BlockPattern& pattern, const Table& table) {
  return {slots_of(pattern.entries() * kBlockOuts * kBlockIns, table),
          slots_of(table.block.transposed_numbers(pattern.index()), table)};
}

void pack_block_weights(const BlockPattern& pattern, const float* weight, const Table& table, Executor& executor,
                        const BlockWeights& weights) {
  const BlockIndex index = pattern.index();
  executor.for_each(index.row_pairs, [&](int64_t row_pair) {
    table.block.pack_weights(index, weight, row_pair, weights.forward, weights.transposed);
  });
}

void pack_tokens(const void* rows, int64_t tokens, int64_t width, const Table& table, Executor& executor,
                 float* packed) {
  const int64_t slots = slots_of(width, table);
  executor.for_each(token_tiles(tokens), [&](int64_t tile) {
    const int64_t first = tile * kTileTokens;
    table.block.pack_tokens(static_cast<const float*>(rows) + first * slots, std::min(kTileTokens, tokens - first),
                            slots, slots, packed + tile * slots * kTileTokens);
  });
}

void unpack_tokens(const float* packed, int64_t tokens, int64_t width, const Table& table, Executor& executor,
                   void* rows) {
  const int64_t slots = slots_of(width, table);
  executor.for_each(token_tiles(tokens), [&](int64_t tile) {
    const int64_t first = tile * kTileTokens;
    table.block.unpack_tokens(packed + tile * slots * kTileTokens, std::min(kTileTokens, tokens - first), slots, slots,
                              static_cast<float*>(rows) + first * slots);
  });
}

void block_forward(const BlockPattern& pattern, const BlockWeights& weights, const float* x, int64_t tiles,
                   const Table& table, Executor& executor, float* y) {
  const int64_t x_tile = tile_slots(pattern.in(), table), y_tile = tile_slots(pattern.out(), table);
  executor.for_each((tiles + 1) / 2, [&](int64_t pair) {
    table.block.forward(pattern.index(), weights.forward, x + 2 * pair * x_tile, y + 2 * pair * y_tile,
                        std::min<int64_t>(2, tiles - 2 * pair));
  });
}

void block_backward_input(const BlockPattern& pattern, const BlockWeights& weights, const float* dy, int64_t tiles,
                          const Table& table, Executor& executor, float* dx) {
  const int64_t x_tile = tile_slots(pattern.in(), table), y_tile = tile_slots(pattern.out(), table);
  executor.for_each(tiles, [&](int64_t tile) {
    table.block.backward_input(pattern.index(), weights.transposed, dy + tile * y_tile, dx + tile * x_tile);
  });
}

void block_backward_weight(const BlockPattern& pattern, const float* x, const float* dy, int64_t tiles,
                           const Table& table, Executor& executor, float* gradient) {
  const BlockIndex index = pattern.index();
  const bool gathers = table.block.gather_columns != nullptr;
  const int64_t x_tile = tile_slots(pattern.in(), table), y_tile = tile_slots(pattern.out(), table);
  const int64_t tile_bytes = x_tile * static_cast<int64_t>(sizeof(float));
  const int64_t span = std::clamp<int64_t>((gathers ? kGatheredSpanBytes : kSpanBytes) / tile_bytes, 1, std::max<int64_t>(1, tiles));
  // Megabytes that are written before they are read: no zeros first.
  const auto values = std::make_unique_for_overwrite<float[]>(pattern.entries() * kBlockIns * kBlockOuts);
  const auto columns = make_aligned_for_overwrite<float>(gathers ? static_cast<size_t>(span * x_tile) : 0);
  for (int64_t first = 0; first < tiles; first += span) {
    const int64_t count = std::min(span, tiles - first);
    const float* inputs = x + first * x_tile;
    if (gathers) {
      gather_columns(index, inputs, count, table, executor, columns.get());
      inputs = columns.get();
    }
    executor.for_each(index.rows, [&](int64_t row) {
      table.block.backward_weight(index, inputs, dy + first * y_tile, count, row, first > 0, values.get());
      if (first + count == tiles) scatter_row(index, values.get(), row, gradient);
    });
  }
}

}  // namespace ringflash::kernels
