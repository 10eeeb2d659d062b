// How tokens and weights of block-sparse layers are packed.
#pragma once

#include "kernels/block_kernels.h"
#include "kernels/simd/attention_tile-inl.h"
#include "kernels/simd/soon-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Slot rows of a column (2 ins) and of a row (16 outs) in a tile of tokens.
inline constexpr int64_t kColumnSlots = kBlockIns / kSlotNumbers;
inline constexpr int64_t kRowSlots = kBlockOuts / kSlotNumbers;
/// Slots of one out of a chunk of packed weights.
inline constexpr int64_t kChunkSlots = BlockIndex::kChunk * kBlockIns / kSlotNumbers;
/// Slots of a tile of W.
inline constexpr int64_t kEntrySlots = kBlockOuts * kBlockIns / kSlotNumbers;

inline void pack_tokens(const float* rows, int64_t tokens, int64_t slots, int64_t stride, float* tile) {
  for (int64_t t = 0; t < kTileTokens; t += kLanes) {
    for (int64_t slot = 0; slot < slots; slot += kLanes) {
      Vec square[kLanes];
      for (int k = 0; k < kLanes; ++k) {
        square[k] = t + k < tokens ? load_partial(rows + (t + k) * stride + slot, slots - slot) : Vec{};
      }
      transpose(square);
      const int64_t count = smaller(kLanes, slots - slot);
      for (int64_t k = 0; k < count; ++k) store(tile + (slot + k) * kTileTokens + t, square[k]);
    }
  }
}

inline void unpack_tokens(const float* tile, int64_t tokens, int64_t slots, int64_t stride, float* rows) {
  for (int64_t t = 0; t < tokens; t += kLanes) {
    for (int64_t slot = 0; slot < slots; slot += kLanes) {
      Vec square[kLanes];
      for (int k = 0; k < kLanes; ++k) {
        square[k] = slot + k < slots ? load(tile + (slot + k) * kTileTokens + t) : Vec{};
      }
      transpose(square);
      const int64_t count = smaller(kLanes, tokens - t);
      for (int64_t k = 0; k < count; ++k) {
        store_partial(rows + (t + k) * stride + slot, square[k], slots - slot);
      }
    }
  }
}

/// Writes 32 numbers as the table has them, from fp32.
inline void store_numbers(Slot* target, const float* numbers) {
  for (int64_t i = 0; i < 32; i += kLanes * kSlotNumbers) {
    store(target + i / kSlotNumbers, load_slots(numbers + i, 32 - i));
  }
}

/// The forward form of one row of tiles.
inline void pack_row(const BlockIndex& index, const float* weight, int64_t row, Slot* forward) {
  const int64_t in = index.columns * kBlockIns, begin = index.row_begin[row], count = index.row_count[row];
  for (int64_t first = 0; first < count; first += BlockIndex::kChunk) {
    const int32_t* columns = index.entry_column + begin + first;
    const int64_t meant = smaller(BlockIndex::kChunk, count - first);
    Slot* chunk = forward + (begin + first) * kEntrySlots;
    float numbers[BlockIndex::kChunk * kBlockIns] = {};
    for (int64_t o = 0; o < kBlockOuts; ++o) {
      const float* source = weight + (row * kBlockOuts + o) * in;
      for (int64_t j = 0; j < meant; ++j) {
        __builtin_memcpy(numbers + j * kBlockIns, source + columns[j] * kBlockIns, kBlockIns * sizeof(float));
      }
      store_numbers(chunk + o * kChunkSlots, numbers);
    }
  }
}

/// Slots of 32 tokens of one feature, as vectors.
inline constexpr int64_t kTokenSlots = kTileTokens / kSlotNumbers;
inline constexpr int64_t kTokenVecs = kTokenSlots / kLanes;

/// Vector v of the tokens of two features 2r and 2r + 1, whose slot rows start at `slots`. The tokens of a bf16 pair
/// are t and t + 16: any order serves that x and dy have in common.
[[gnu::always_inline]] inline void split_features(const Slot* slots, [[maybe_unused]] int64_t v, Vec& even, Vec& odd) {
#if defined(RF_BF16)
  const VecI low = bits(load(slots)), high = bits(load(slots + kLanes));
  even = from_bits((low & 0xffff) | (high << 16));
  odd = from_bits(((low >> 16) & 0xffff) | (high & static_cast<int32_t>(0xffff0000)));
#else
  even = load(slots + v * kLanes);
  odd = load(slots + kTileTokens + v * kLanes);
#endif
}

/// Writes sums of a tile of tokens, [in][32 tokens], as the input gradient.
inline void store_sums(const float* sums, int64_t columns, Slot* dx) {
  for (int64_t column = 0; column < columns; ++column, sums += kBlockIns * kTileTokens, dx += kColumnSlots * kTileTokens) {
    for (int64_t t = 0; t < kTileTokens; t += kLanes) {
      store_right(dx + t, kTileTokens, load(sums + t), load(sums + kTileTokens + t));
    }
  }
}

/// The outs of a row of tiles of W, [tile][kTokenSlots][16 outs].
inline void gather_outs(const Slot* dy, int64_t dy_tile, int64_t tiles, Slot* outs) {
  for (int64_t tile = 0; tile < tiles; ++tile, dy += dy_tile, outs += kTokenSlots * kBlockOuts) {
    for (int64_t v = 0; v < kTokenVecs; ++v) {
      for (int64_t first = 0; first < kBlockOuts; first += kLanes) {
        Vec square[kLanes];
        for (int o = 0; o < kLanes; o += 2) {
          split_features(dy + (first + o) / kSlotNumbers * kTileTokens, v, square[o], square[o + 1]);
        }
        transpose(square);
        for (int k = 0; k < kLanes; ++k) store(outs + (v * kLanes + k) * kBlockOuts + first, square[k]);
      }
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
