// Block-sparse products in vector registers. Lanes are tokens; weights are broadcast.
#pragma once

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Outs whose sums stay in registers together, with two vectors of tokens each.
inline constexpr int kHeldOuts = kLanes == 8 ? 4 : 8;

/// Two vectors of tokens of outs [o, o + kHeldOuts) of a row of tiles.
[[gnu::always_inline]] inline void forward_outs(const BlockIndex& index, const Slot* weights, const Slot* x,
                                                int64_t row, int64_t o, Slot* y) {
  const int64_t begin = index.row_begin[row], count = index.row_count[row];
  Vec sum[kHeldOuts][2] = {};
  for (int64_t first = 0; first < count; first += BlockIndex::kChunk) {
    const Slot* chunk = weights + (begin + first) * kEntrySlots + o * kChunkSlots;
    const int32_t* columns = index.entry_column + begin + first;
    const int64_t meant = smaller(BlockIndex::kChunk, count - first);
    for (int64_t j = 0; j < meant; ++j) {
#pragma GCC unroll 2
      for (int64_t s = 0; s < kColumnSlots; ++s) {
        const Slot* tokens = x + (columns[j] * kColumnSlots + s) * kTileTokens;
        const Vec first_tokens = load(tokens), second_tokens = load(tokens + kLanes);
#pragma GCC unroll 8
        for (int k = 0; k < kHeldOuts; ++k) {
          Vec factor = broadcast_slot(chunk + k * kChunkSlots + j * kColumnSlots + s);
          keep_in_register(factor);
          sum[k][0] = multiply_add(first_tokens, factor, sum[k][0]);
          sum[k][1] = multiply_add(second_tokens, factor, sum[k][1]);
        }
      }
    }
  }
  Slot* target = right_slot(y, row * kBlockOuts + o, kTileTokens);
#pragma GCC unroll 8
  for (int k = 0; k < kHeldOuts; k += 2) {
    store_right(right_slot(target, k, kTileTokens), kTileTokens, sum[k][0], sum[k + 1][0]);
    store_right(right_slot(target, k, kTileTokens) + kLanes, kTileTokens, sum[k][1], sum[k + 1][1]);
  }
}

inline void block_forward(const BlockIndex& index, const void* weights, const float* x, float* y, int64_t tiles) {
  for (int64_t tile = 0; tile < tiles; ++tile) {
    for (int64_t row = 0; row < index.rows; ++row) {
      for (int64_t o = 0; o < kBlockOuts; o += kHeldOuts) {
        for (int64_t t = 0; t < kTileTokens; t += 2 * kLanes) {
          forward_outs(index, static_cast<const Slot*>(weights), x + t, row, o, y + t);
        }
      }
    }
    x += index.columns * kColumnSlots * kTileTokens;
    y += index.rows * kRowSlots * kTileTokens;
  }
}

/// The transposed form: [entry][2 ins][16 outs] numbers.
inline void pack_transposed(const BlockIndex& index, const float* weight, int64_t row, Slot* transposed) {
  const int64_t in = index.columns * kBlockIns, begin = index.row_begin[row];
  for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
    const float* source = weight + row * kBlockOuts * in + index.entry_column[entry] * kBlockIns;
    float numbers[kBlockIns * kBlockOuts];
    for (int64_t o = 0; o < kBlockOuts; ++o) {
      numbers[o] = source[o * in];
      numbers[kBlockOuts + o] = source[o * in + 1];
    }
    store_numbers(transposed + entry * kEntrySlots, numbers);
  }
}

inline void pack_weights(const BlockIndex& index, const float* weight, int64_t row_pair, void* forward,
                         void* transposed) {
  for (int64_t row = 2 * row_pair; row < smaller(index.rows, 2 * row_pair + 2); ++row) {
    pack_row(index, weight, row, static_cast<Slot*>(forward));
    pack_transposed(index, weight, row, static_cast<Slot*>(transposed));
  }
}

inline int64_t transposed_numbers(const BlockIndex& index) {
  return index.row_begin[index.rows] * kBlockOuts * kBlockIns;
}

/// Two vectors of tokens of one column. Several sums run side by side, or each would wait for the one before.
[[gnu::always_inline]] inline void backward_column(const BlockIndex& index, const Slot* transposed, const Slot* dy,
                                                   int64_t column, Slot* dx) {
  constexpr int kPhases = kLanes == 8 ? 2 : 4;
  Vec sum[kPhases][2][2] = {};
  for (int64_t k = index.column_begin[column]; k < index.column_begin[column + 1]; ++k) {
    const Slot* factors = transposed + index.column_entry[k] * kEntrySlots;
    const Slot* tokens = dy + index.column_row[k] * kRowSlots * kTileTokens;
#pragma GCC unroll 16
    for (int64_t s = 0; s < kRowSlots; ++s) {
      const Vec first = load(tokens + s * kTileTokens), second = load(tokens + s * kTileTokens + kLanes);
      Vec(&phase)[2][2] = sum[s % kPhases];
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        Vec factor = broadcast_slot(factors + i * kRowSlots + s);
        keep_in_register(factor);
        phase[i][0] = multiply_add(first, factor, phase[i][0]);
        phase[i][1] = multiply_add(second, factor, phase[i][1]);
      }
    }
  }
#pragma GCC unroll 4
  for (int phase = 1; phase < kPhases; ++phase) {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      sum[0][i][0] += sum[phase][i][0];
      sum[0][i][1] += sum[phase][i][1];
    }
  }
  Slot* target = dx + column * kColumnSlots * kTileTokens;
  store_right(target, kTileTokens, sum[0][0][0], sum[0][1][0]);
  store_right(target + kLanes, kTileTokens, sum[0][0][1], sum[0][1][1]);
}

inline void block_backward_input(const BlockIndex& index, const void* transposed, const float* dy, float* dx) {
  for (int64_t column = 0; column < index.columns; ++column) {
    for (int64_t t = 0; t < kTileTokens; t += 2 * kLanes) {
      backward_column(index, static_cast<const Slot*>(transposed), dy + t, column, dx + t);
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
