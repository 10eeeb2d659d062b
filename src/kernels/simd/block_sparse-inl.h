// Block-sparse products in vector registers. Lanes are tokens; weights are broadcast.
#pragma once

#include "kernels/simd/block_packing-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Pairs of numbers as the first ones of all and then the second ones; single numbers as they are.
inline Vec apart(Vec pairs) {
#if defined(RF_BF16)
  typedef uint16_t Numbers __attribute__((vector_size(64)));
  const auto v = reinterpret_cast<Numbers>(pairs);
  return reinterpret_cast<Vec>(__builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,  //
                                                       1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31));
#else
  return pairs;
#endif
}

/// Outs whose sums stay in registers together, with two vectors of tokens each.
inline constexpr int kHeldOuts = kLanes == 8 ? 4 : 8;

/// Two vectors of tokens of outs [o, o + kHeldOuts) of a row of tiles.
[[gnu::always_inline]] inline void forward_outs(const BlockIndex& index, const Slot* weights, const Slot* x,
                                                int64_t row, int64_t o, Slot* y, SoonAsker& soon) {
  const int64_t begin = index.row_begin[row], count = index.row_count[row];
  Vec sum[kHeldOuts][2] = {};
  for (int64_t first = 0; first < count; first += BlockIndex::kChunk) {
    const Slot* chunk = weights + (begin + first) * kEntrySlots + o * kChunkSlots;
    const int32_t* columns = index.entry_column + begin + first;
    const int64_t meant = smaller(BlockIndex::kChunk, count - first);
    soon.turn();
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

inline void block_forward(const BlockIndex& index, const void* weights, const float* x, float* y, int64_t tiles,
                          const Soon& soon) {
  constexpr int64_t kTurnsPerChunk = kBlockOuts / kHeldOuts * (kTileTokens / (2 * kLanes));
  SoonAsker asker(soon, tiles * (index.row_begin[index.rows] / BlockIndex::kChunk) * kTurnsPerChunk);
  const int64_t x_tile = index.columns * kColumnSlots * kTileTokens, y_tile = index.rows * kRowSlots * kTileTokens;
  for (int64_t row = 0; row < index.rows; ++row) {
    for (int64_t tile = 0; tile < tiles; ++tile) {
      for (int64_t o = 0; o < kBlockOuts; o += kHeldOuts) {
        for (int64_t t = 0; t < kTileTokens; t += 2 * kLanes) {
          forward_outs(index, static_cast<const Slot*>(weights), x + tile * x_tile + t, row, o, y + tile * y_tile + t, asker);
        }
      }
    }
  }
}

/// What pack_row() made of one row, as [entry][2 ins][16 outs] numbers.
inline void pack_transposed(const BlockIndex& index, const Slot* forward, int64_t row, Slot* transposed) {
  const int64_t begin = index.row_begin[row], end = index.row_begin[row + 1];
  for (int64_t entry = begin; entry < end; entry += BlockIndex::kChunk) {
    const Slot* chunk = forward + entry * kEntrySlots;
    Slot* target = transposed + entry * kEntrySlots;
    for (int64_t slot = 0; slot < kChunkSlots; slot += kLanes) {
      for (int64_t o = 0; o < kBlockOuts; o += kLanes) {
        Vec square[kLanes];
        for (int k = 0; k < kLanes; ++k) square[k] = load(chunk + (o + k) * kChunkSlots + slot);
        transpose(square);
        for (int k = 0; k < kLanes; ++k) store(target + (slot + k) * kBlockOuts + o, apart(square[k]));
      }
    }
  }
}

inline void pack_weights(const BlockIndex& index, const float* weight, int64_t row_pair, void* forward,
                         void* transposed) {
  for (int64_t row = 2 * row_pair; row < smaller(index.rows, 2 * row_pair + 2); ++row) {
    pack_row(index, weight, row, static_cast<Slot*>(forward));
    pack_transposed(index, static_cast<const Slot*>(forward), row, static_cast<Slot*>(transposed));
  }
}

inline int64_t transposed_numbers(const BlockIndex& index) {
  return index.row_begin[index.rows] * kBlockOuts * kBlockIns;
}

/// Vectors of a tile's tokens.
inline constexpr int kTileVectors = static_cast<int>(kTileTokens) / kLanes;

/// One row of tiles, whose tokens are `outs`: each of its entries adds to the sums of its two ins, so that less is read from the
/// second-level cache than is multiplied.
[[gnu::always_inline]] inline void backward_row(const BlockIndex& index, const Slot* transposed, int64_t row, const Slot* outs,
                                                float* sums, SoonAsker& soon) {
  constexpr bool kHeld = kRowSlots * kTileVectors <= 16;  // in registers
  const auto tokens_of = [outs](int64_t s, int v) __attribute__((always_inline)) {
    return load(outs + s * kTileTokens + v * kLanes);
  };
  [[maybe_unused]] Vec held[kHeld ? kRowSlots : 1][kTileVectors];
  if constexpr (kHeld) {
#pragma GCC unroll 8
    for (int64_t s = 0; s < kRowSlots; ++s) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) held[s][v] = tokens_of(s, v);
    }
  }
  const int64_t begin = index.row_begin[row];
  for (int64_t entry = begin; entry < begin + index.row_count[row]; ++entry) {
    soon.turn();
    const Slot* factors = transposed + entry * kEntrySlots;
    float* target = sums + index.entry_column[entry] * kBlockIns * kTileTokens;
    Vec sum[kBlockIns][kTileVectors];
#pragma GCC unroll 2
    for (int i = 0; i < kBlockIns; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) sum[i][v] = load(target + i * kTileTokens + v * kLanes);
    }
#pragma GCC unroll 16
    for (int64_t s = 0; s < kRowSlots; ++s) {
      Vec factor[kBlockIns];
#pragma GCC unroll 2
      for (int i = 0; i < kBlockIns; ++i) factor[i] = broadcast_slot(factors + i * kRowSlots + s);
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) {
        const Vec tokens = kHeld ? held[kHeld ? s : 0][v] : tokens_of(s, v);
#pragma GCC unroll 2
        for (int i = 0; i < kBlockIns; ++i) sum[i][v] = multiply_add(tokens, factor[i], sum[i][v]);
      }
    }
#pragma GCC unroll 2
    for (int i = 0; i < kBlockIns; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) store(target + i * kTileTokens + v * kLanes, sum[i][v]);
    }
  }
}

inline void block_backward_input(const BlockIndex& index, const void* transposed, const float* dy, float* dx,
                                 const Soon& soon) {
  const int64_t count = index.columns * kBlockIns * kTileTokens;
  Scratch scratch(count);
  float* sums = scratch.take(count);
  __builtin_memset(sums, 0, static_cast<size_t>(count) * sizeof(float));
  SoonAsker asker(soon, index.active);
  for (int64_t row = 0; row < index.rows; ++row) {
    backward_row(index, static_cast<const Slot*>(transposed), row, dy + row * kRowSlots * kTileTokens, sums, asker);
  }
  store_sums(sums, index.columns, dx);
}

}  // namespace ringflash::kernels::RF_ISA
