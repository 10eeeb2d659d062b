// A layer's matrix W + A B (DESIGN section 6): W as it lies in the file, which other layers may point to as well, and the
// layer's own low-rank pair.
#pragma once

#include <cstdint>
#include <span>

#include "base/aligned.h"
#include "runtime/weights.h"

namespace ringflash {

/// [rows, columns]. A is [rows, rank] and B [rank, columns]; their data is null where there is no pair.
struct LayerMatrix {
  WeightMatrix w, delta_a, delta_b;

  bool has_delta() const { return delta_a.data != nullptr; }
};

/// One of the matrices that the same activations are multiplied with, and where its product goes, [tokens, rows].
struct LayerProjection {
  const LayerMatrix& matrix;
  float* y;
};

/// Memory for products with low-rank pairs, which grows as needed.
struct DeltaBuffers {
  AlignedVector<float> inner;  ///< x B^T of each pair in a row
  AlignedVector<float> outer;  ///< and what A makes of it
};

/// y = x W^T + (x B^T) A^T of each; x is [tokens, columns]. The products with W and B run side by side. A token's result
/// has the same bits as multiply() says.
void multiply(const kernels::Table& table, Executor& executor, std::span<const LayerProjection> projections,
              const float* x, int64_t tokens, RoundedTokens& rounded, DeltaBuffers& buffers);

}  // namespace ringflash
