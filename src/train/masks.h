// Which weights stay: masks of the fine and the block pattern (DESIGN section 5), by magnitude, at random, or
// as RigL moves them. A mask is a bool tensor of its weight's shape [out, in].
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "model/sparsity.h"

namespace ringflash {

/// How much of a weight matrix stays, and in what shape.
struct MaskShape {
  SparsePattern pattern;
  int64_t keep;  ///< of 64 weights
};

/// The `keep` best by magnitude: of every group of 64 weights, or of the tiles of every strip of 16 rows by
/// their norm. Of equals the earlier ones stay.
torch::Tensor magnitude_mask(const torch::Tensor& weight, const MaskShape& shape);

/// The same by scores [out, in] >= 0 in the place of squared magnitudes; a tile's score is the sum of its weights'.
torch::Tensor best_mask(const torch::Tensor& scores, const MaskShape& shape);

/// The same number, drawn from `seed`.
torch::Tensor random_mask(const torch::Tensor& weight, const MaskShape& shape, uint64_t seed);

/// RigL (Evci et al. 2020): `fraction` of each group's kept units, the smallest, give way to as many pruned
/// ones, those with the largest gradient.
torch::Tensor rigl_mask(const torch::Tensor& weight, const torch::Tensor& gradient, const torch::Tensor& mask,
                        const MaskShape& shape, double fraction);

}  // namespace ringflash
