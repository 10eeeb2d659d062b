// The weights that a layer multiplies with, as opposed to those that it keeps: masked, and rounded to what
// the exported file will hold.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "train/ops/block_linear.h"

namespace ringflash {

/// How a layer sees its weight.
struct WeightView {
  torch::Tensor mask;  ///< bool [out, in]; undefined where all weights are there
  int64_t bits = 16;   ///< 4 or 8: as S4 and S8 hold them (quantize_sparse.h); 16: unquantised
  int64_t nonzeros = 0;  ///< the N of S4's and S8's N:64

  /// Where set, products skip the inactive tiles of `mask` (block_linear.h) instead of multiplying with zeros.
  BlockTilesPtr tiles = {};
  TileGradient tile_gradient = TileGradient::kActive;
};

/// weight [out, in] fp32 as the view shows it, in `compute`. The gradient passes straight through to all of
/// the weight, absent and rounded ones included (Bengio et al. 2013): the optimiser decides what it does to
/// them.
torch::Tensor seen_weight(const torch::Tensor& weight, const WeightView& view, torch::ScalarType compute);

/// What seen_weight() makes of masked weights [out, in], fp32, with `bits` 4 or 8: as an exported file decodes them.
torch::Tensor quantized_weight(const torch::Tensor& masked, int64_t bits, int64_t nonzeros);

}  // namespace ringflash
