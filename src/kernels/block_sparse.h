// The three products of a block-sparse linear layer over any number of tokens, split over an Executor. Results do not
// depend on how many threads there are.
#pragma once

#include "base/ceil_div.h"
#include "base/executor.h"
#include "kernels/block_pattern.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {

constexpr int64_t token_tiles(int64_t tokens) {
  return ceil_div(tokens, kTileTokens);
}

/// Slots of `width` numbers of a table.
constexpr int64_t slots_of(int64_t width, const Table& table) {
  return table.key_type == KeyType::kBf16 ? width / 2 : width;
}

/// The active tiles of a weight as one table's kernels read them, in two forms of their own.
struct BlockWeights {
  float *forward, *transposed;
};

/// Slots of the two forms.
struct BlockWeightSizes {
  int64_t forward, transposed;
};
BlockWeightSizes block_weight_sizes(const BlockPattern& pattern, const Table& table);

/// weight is [out, in] fp32; what lies in inactive tiles is not read.
void pack_block_weights(const BlockPattern& pattern, const float* weight, const Table& table, Executor& executor,
                        const BlockWeights& weights);

/// rows [tokens, width] of the table's key_type to packed [token_tiles(tokens), slots, 32] slots, and back. width is a
/// multiple of 16. rows must lie on a multiple of 4 bytes.
void pack_tokens(const void* rows, int64_t tokens, int64_t width, const Table& table, Executor& executor,
                 float* packed);
void unpack_tokens(const float* packed, int64_t tokens, int64_t width, const Table& table, Executor& executor,
                   void* rows);

/// A product's activations, packed. Where there are rows [tokens, width] as well, tiles are packed from them as they are
/// multiplied, or unpacked to them as they are ready: a cache holds them then, and memory is not read once more.
struct BlockInput {
  float* packed;               ///< never null; written first, if there are rows
  const void* rows = nullptr;  ///< of the table's key_type
};
struct BlockOutput {
  float* packed;  ///< may be null, if there are rows
  void* rows = nullptr;
};

/// y = x W^T.
void block_forward(const BlockPattern& pattern, const BlockWeights& weights, const BlockInput& x, int64_t tokens,
                   const Table& table, Executor& executor, const BlockOutput& y);

/// dx = dy W.
void block_backward_input(const BlockPattern& pattern, const BlockWeights& weights, const BlockInput& dy, int64_t tokens,
                          const Table& table, Executor& executor, const BlockOutput& dx);

/// gradient [out, in] = dy^T x at the active tiles, zeros elsewhere.
void block_backward_weight(const BlockPattern& pattern, const float* x, const float* dy, int64_t tiles,
                           const Table& table, Executor& executor, float* gradient);

}  // namespace ringflash::kernels
