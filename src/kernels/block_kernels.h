// What a table knows of block-sparse linear layers: y = x W^T where W [out, in] keeps some of its tiles of 16 outs x
// 2 ins. Three products skip the rest: y, dx = dy W, and dW = dy^T x at the active tiles.
//
// A number is the table's key_type. Activations are feature-major, so that what a tile of W needs lies together:
// tiles of 32 tokens, [tile][slot row][32 tokens], a slot being 4 bytes: one float, or the bf16 pair of the features
// 2r and 2r + 1. Tokens past the last one are zeros. Taken as an array of numbers a packed tensor is an ordinary one:
// what works element by element works on it.
#pragma once

#include <cstdint>

#include "model/sparsity.h"

namespace ringflash::kernels {

inline constexpr int64_t kBlockOuts = kBlockRows, kBlockIns = kBlockColumns;
inline constexpr int64_t kTileTokens = 32;

/// The active tiles of W, by row of tiles (16 outs) and by pairs of rows. Views of a BlockPattern.
struct BlockIndex {
  /// Entries of a row come in whole chunks, the last one filled up with entries that mean nothing.
  static constexpr int64_t kChunk = 16;
  /// Likewise the columns of a pair of rows.
  static constexpr int64_t kUnit = 8;

  int64_t rows, columns;        ///< out / 16, in / 2
  int64_t active;               ///< tiles
  const int32_t* row_begin;     ///< [rows + 1], multiples of kChunk
  const int32_t* row_count;     ///< [rows] active tiles
  const int32_t* entry_column;  ///< [row_begin[rows]], ascending within a row

  int64_t row_pairs;            ///< (rows + 1) / 2
  const int32_t* pair_begin;    ///< [row_pairs + 1], multiples of kUnit
  const int32_t* pair_count;    ///< [row_pairs] columns that are active in either row
  const int32_t* pair_column;   ///< [pair_begin[row_pairs]]
};

/// Memory that is wanted as soon as a kernel is done. Kernels ask for it while they multiply, when memory has nothing else to do.
struct Soon {
  struct Part {
    const float* begin = nullptr;
    int64_t count = 0;  ///< floats
  };
  Part parts[2];
};

struct BlockKernels {
  /// Turns rows of `slots` slots each, `stride` apart, into one tile, and back. `tokens` is 1 to 32.
  void (*pack_tokens)(const float* rows, int64_t tokens, int64_t slots, int64_t stride, float* tile);
  void (*unpack_tokens)(const float* tile, int64_t tokens, int64_t slots, int64_t stride, float* rows);

  /// Packs the active tiles of two rows of tiles of W [out, in]:
  ///   forward     [row_begin[rows] / 16][16 outs][16 entries][2 ins] numbers, zeros in meaningless entries
  ///   transposed  the table's own form of the same, transposed_numbers() in all
  void (*pack_weights)(const BlockIndex& index, const float* weight, int64_t row_pair, void* forward,
                       void* transposed);
  int64_t (*transposed_numbers)(const BlockIndex& index);

  /// y = x W^T of `tiles` tiles of tokens, one or two.
  void (*forward)(const BlockIndex& index, const void* weights, const float* x, float* y, int64_t tiles,
                  const Soon& soon);

  /// dx = dy W of one tile. Where dy is not finite, dx of those tokens need not be NaN in the right features alone.
  void (*backward_input)(const BlockIndex& index, const void* transposed, const float* dy, float* dx, const Soon& soon);

  /// Copies the columns [begin, end) of x of `tiles` tiles to where backward_weight finds a column's tokens side by side:
  /// [column][tile][a tile's slots of a column]. Null where it reads x as it is.
  void (*gather_columns)(const BlockIndex& index, const float* x, int64_t tiles, int64_t begin, int64_t end,
                         float* columns);

  /// values[entry][2 ins][16 outs] (+)= dy^T x over `tiles` tiles, for the entries of one row; those that mean
  /// nothing get anything. x is what gather_columns() made, if there is one.
  void (*backward_weight)(const BlockIndex& index, const float* x, const float* dy, int64_t tiles, int64_t row,
                          bool add, float* values, const Soon& soon);
};

}  // namespace ringflash::kernels
