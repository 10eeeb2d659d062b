#include "kernels/block_sparse.h"

#include <algorithm>
#include <memory>

#include "base/aligned.h"
#include "base/ceil_div.h"

namespace ringflash::kernels {
namespace {

/// Inputs that weight gradients are summed over at a time: many, as sums are written and read again after each such span, but no
/// more than a cache keeps for all rows.
constexpr int64_t kSpanBytes = 1 << 20;

/// Columns that are gathered by a task: what they are in a tile lies side by side.
constexpr int64_t kGatheredColumns = 64;

/// One side of a product: tokens of so many slots each.
struct Side {
  int64_t slots, tokens;
  const Table& table;

  int64_t tile_slots() const { return slots * kTileTokens; }
  int64_t tokens_of(int64_t tile) const { return std::min(kTileTokens, tokens - tile * kTileTokens); }
  /// What of rows or packed tokens belongs to `count` tiles from `first` on, as far as those exist.
  Soon::Part part(const void* all, bool rows, int64_t first, int64_t count) const {
    const int64_t end = rows ? tokens : token_tiles(tokens) * kTileTokens;
    const int64_t from = std::min(first * kTileTokens, end), to = std::min(from + count * kTileTokens, end);
    return {static_cast<const float*>(all) + from * slots, (to - from) * slots};
  }

  void pack(const void* rows, int64_t tile, float* packed) const {
    table.block.pack_tokens(static_cast<const float*>(rows) + tile * tile_slots(), tokens_of(tile), slots, slots, packed);
  }
  void unpack(const float* packed, int64_t tile, void* rows) const {
    table.block.unpack_tokens(packed, tokens_of(tile), slots, slots, static_cast<float*>(rows) + tile * tile_slots());
  }
};

/// multiply(first tile of x, of y, count, soon) for `together` tiles at a time, each task with its own.
template <typename Multiply>
void multiply_tiles(const BlockInput& x, const Side& in, const BlockOutput& y, const Side& out, int64_t together,
                    Executor& executor, const Multiply& multiply) {
  const int64_t tiles = token_tiles(in.tokens);
  executor.for_each(ceil_div(tiles, together), [&](int64_t task) {
    const int64_t first = task * together, count = std::min(together, tiles - first);
    float* from = x.packed + first * in.tile_slots();
    for (int64_t i = 0; i < count && x.rows != nullptr; ++i) in.pack(x.rows, first + i, from + i * in.tile_slots());
    const auto room = make_aligned_for_overwrite<float>(y.packed != nullptr ? 0 : static_cast<size_t>(count * out.tile_slots()));
    float* to = y.packed != nullptr ? y.packed + first * out.tile_slots() : room.get();
    const int64_t next = first + executor.concurrency() * together;
    Soon soon;
    soon.parts[0] = in.part(x.rows != nullptr ? x.rows : x.packed, x.rows != nullptr, next, together);
    if (y.rows != nullptr) soon.parts[1] = out.part(y.rows, true, first, count);
    multiply(from, to, count, soon);
    for (int64_t i = 0; i < count && y.rows != nullptr; ++i) out.unpack(to + i * out.tile_slots(), first + i, y.rows);
  });
}

/// Writes the values of one row of tiles to where W has them, and zeros elsewhere.
void scatter_row(const BlockIndex& index, const float* values, int64_t row, float* gradient) {
  const int64_t in = index.columns * kBlockIns, begin = index.row_begin[row];
  for (int64_t o = 0; o < kBlockOuts; ++o) {
    float* target = gradient + (row * kBlockOuts + o) * in;
    std::fill_n(target, in, 0.0f);
    for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
      const float* value = values + entry * kBlockIns * kBlockOuts + o;
      target[index.entry_column[entry] * kBlockIns] = value[0];
      target[index.entry_column[entry] * kBlockIns + 1] = value[kBlockOuts];
    }
  }
}

void gather_columns(const BlockIndex& index, const float* x, int64_t tiles, const Table& table, Executor& executor,
                    float* columns) {
  executor.for_each(ceil_div(index.columns, kGatheredColumns), [&](int64_t task) {
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
  const Side side{slots_of(width, table), tokens, table};
  executor.for_each(token_tiles(tokens), [&](int64_t tile) { side.pack(rows, tile, packed + tile * side.tile_slots()); });
}

void unpack_tokens(const float* packed, int64_t tokens, int64_t width, const Table& table, Executor& executor,
                   void* rows) {
  const Side side{slots_of(width, table), tokens, table};
  executor.for_each(token_tiles(tokens), [&](int64_t tile) { side.unpack(packed + tile * side.tile_slots(), tile, rows); });
}

void block_forward(const BlockPattern& pattern, const BlockWeights& weights, const BlockInput& x, int64_t tokens,
                   const Table& table, Executor& executor, const BlockOutput& y) {
  const Side in{slots_of(pattern.in(), table), tokens, table}, out{slots_of(pattern.out(), table), tokens, table};
  multiply_tiles(x, in, y, out, /*together=*/2, executor, [&](const float* from, float* to, int64_t count, const Soon& soon) {
    table.block.forward(pattern.index(), weights.forward, from, to, count, soon);
  });
}

void block_backward_input(const BlockPattern& pattern, const BlockWeights& weights, const BlockInput& dy, int64_t tokens,
                          const Table& table, Executor& executor, const BlockOutput& dx) {
  const Side in{slots_of(pattern.in(), table), tokens, table}, out{slots_of(pattern.out(), table), tokens, table};
  multiply_tiles(dy, out, dx, in, /*together=*/1, executor, [&](const float* from, float* to, int64_t, const Soon& soon) {
    table.block.backward_input(pattern.index(), weights.transposed, from, to, soon);
  });
}

void block_backward_weight(const BlockPattern& pattern, const float* x, const float* dy, int64_t tiles,
                           const Table& table, Executor& executor, float* gradient) {
  const BlockIndex index = pattern.index();
  const bool gathers = table.block.gather_columns != nullptr;
  const int64_t x_tile = slots_of(pattern.in(), table) * kTileTokens, y_tile = slots_of(pattern.out(), table) * kTileTokens;
  const int64_t tile_bytes = x_tile * static_cast<int64_t>(sizeof(float));
  const int64_t span = std::clamp<int64_t>(kSpanBytes / tile_bytes, 1, std::max<int64_t>(1, tiles));
  if (tiles == 0) std::fill_n(gradient, pattern.out() * pattern.in(), 0.0f);
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
      const bool last = first + count == tiles;
      Soon soon;
      if (last) soon.parts[0] = {gradient + row * kBlockOuts * pattern.in(), kBlockOuts * pattern.in()};
      table.block.backward_weight(index, inputs, dy + first * y_tile, count, row, first > 0, values.get(), soon);
      if (last) scatter_row(index, values.get(), row, gradient);
    });
  }
}

}  // namespace ringflash::kernels
