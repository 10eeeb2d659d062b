// A matrix of weights as it lies in the file, and its product with activations on all threads.
#pragma once

#include <cstdint>
#include <span>

#include "base/aligned.h"
#include "base/executor.h"
#include "format/gguf.h"
#include "format/sparse_shape.h"
#include "kernels/kernels.h"

namespace ringflash {

/// [rows, columns] in one of the stored formats.
struct WeightMatrix {
  GgufType type = GgufType::kF32;  ///< kI8: sparse, as `sparse` says
  const void* data = nullptr;
  int64_t rows = 0, columns = 0;
  SparseFormat sparse = {};
};

/// Rounded activations, and the memory that they are in, which grows as needed.
class RoundedTokens {
 public:
  /// x is [tokens, in]. The result is valid until the next call.
  kernels::Int8Tokens to_int8(const kernels::Table& table, Executor& executor, const float* x, int64_t tokens,
                              int64_t in);
  /// The same for a table that has `wide`.
  kernels::WideTokens to_wide(const kernels::Table& table, Executor& executor, const float* x, int64_t tokens,
                              int64_t in);

 private:
  AlignedVector<uint8_t> values_;
  AlignedVector<float> scales_;
  AlignedVector<bf16> wide_;
};

/// One of the matrices that the same activations are multiplied with, and where its product goes, [tokens, w.rows].
struct Projection {
  const WeightMatrix& w;
  float* y;
};

/// y[t, o] = sum_i x[t, i] * w[o, i] of each; x is [tokens, columns], which all of them have. A token's result has the
/// same bits on any number of threads, and in any batch that is multiplied the same way: where the table has `wide`,
/// many tokens are multiplied in bf16 instead of 8 bits.
void multiply(const kernels::Table& table, Executor& executor, std::span<const Projection> projections, const float* x,
              int64_t tokens, RoundedTokens& rounded);

/// Whether so many tokens are multiplied with this matrix in the table's `wide` way.
bool rounds_to_bf16(const kernels::Table& table, const WeightMatrix& w, int64_t tokens);

/// One row of a dense matrix.
void read_row(const WeightMatrix& w, int64_t row, std::span<float> out);

}  // namespace ringflash
