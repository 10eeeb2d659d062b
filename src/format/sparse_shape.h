// How a sparse matrix is cut up: rows in blocks of 16, the inputs of a row in groups of 64.
#pragma once

#include <cstdint>

#include "base/check.h"

namespace ringflash {

inline constexpr int64_t kSparseRows = 16;    ///< rows of a superblock
inline constexpr int64_t kSparseInputs = 64;  ///< inputs of a group

/// A matrix [rows, columns] of which each group of 64 inputs keeps at most `nonzeros` weights. It is stored as
/// superblocks of 16 rows x 64 inputs: those of the first 16 rows in the order of the inputs, then those of the next;
/// rows that are missing to the last 16 are zero.
struct SparseShape {
  int64_t rows, columns;  ///< columns: a multiple of 64
  int nonzeros;           ///< N of N:64

  int64_t row_blocks() const { return (rows + kSparseRows - 1) / kSparseRows; }
  int64_t groups() const { return columns / kSparseInputs; }
  int64_t superblocks() const { return row_blocks() * groups(); }
};

enum class SparseBits { k4, k8 };

/// A sparse matrix's format: S4 or S8 of a shape. `nonzeros` is one of is_stored_nonzeros().
struct SparseFormat {
  SparseBits bits;
  SparseShape shape;
  int base = 0;  ///< S4's base exponent (s4_base_exponent), the same for the whole tensor; S8 has none

  int64_t superblock_bytes() const;
  int64_t bytes() const { return shape.superblocks() * superblock_bytes(); }
};

/// Rows [16 * begin, 16 * end) of a matrix: what one thread works on.
struct RowBlocks {
  int64_t begin, end;
};

/// What the index form can hold, each entry naming its input: `nonzeros` of S4 and S8.
constexpr bool is_index_form(int64_t nonzeros) {
  return nonzeros == 4 || nonzeros == 8 || nonzeros == 12 || nonzeros == 16;
}

/// What the bitmap form holds, where indices would cost more than a bit for each input. With 64 all are there, and no
/// bitmap is.
[[gnu::always_inline]] constexpr bool is_bitmap_form(int64_t nonzeros) {
  return nonzeros > 16 && nonzeros <= kSparseInputs;
}

constexpr bool is_stored_nonzeros(int64_t nonzeros) {
  return is_index_form(nonzeros) || is_bitmap_form(nonzeros);
}

/// Calls body.operator()<N>() for the N that `nonzeros` is, one of those of is_index_form().
template <typename Body>
decltype(auto) with_nonzeros(int nonzeros, Body&& body) {
  switch (nonzeros) {
    case 4:
      return body.template operator()<4>();
    case 8:
      return body.template operator()<8>();
    case 12:
      return body.template operator()<12>();
    case 16:
      return body.template operator()<16>();
  }
  RF_UNREACHABLE();
}

}  // namespace ringflash
