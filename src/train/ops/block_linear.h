// Linear layers that compute only the active tiles of their weight, forward and backward (DESIGN section 5's block
// pattern). On the CPU alone.
//
// The products want activations packed (kernels/block_kernels.h). A packed tensor is [tiles, width / 2, 32, 2] in bf16
// or [tiles, width, 32] in fp32, whichever the kernels of this machine multiply; T tokens are ceil(T / 32) tiles, the
// missing ones zeros. Whatever works element by element and leaves zeros zero works on it, swiglu() and sums included,
// so that a chain of layers packs its input once.
#pragma once

#include <torch/custom_class.h>
#include <torch/types.h>

#include "kernels/block_pattern.h"

namespace ringflash {

/// A pattern as autograd can hold it.
struct BlockTiles : torch::CustomClassHolder {
  explicit BlockTiles(kernels::BlockPattern of) : pattern(std::move(of)) {}
  const kernels::BlockPattern pattern;
};
using BlockTilesPtr = c10::intrusive_ptr<BlockTiles>;

/// The tiles of a mask, bool [out, in]: those that it keeps any weight of. Null if a size is no multiple of 16.
BlockTilesPtr block_tiles(const torch::Tensor& mask);

/// The type of packed tensors on this machine.
torch::ScalarType packed_type();

/// x [T, width], width a multiple of 16 -> packed, in packed_type().
torch::Tensor pack_tokens(const torch::Tensor& x);

/// What the gradient of a weight holds where tiles are inactive.
enum class TileGradient {
  kActive,  ///< zeros: they cost nothing
  kDense,   ///< the gradient that the tile would have: for choosing which ones to wake up
};

/// y = x W^T with the active tiles of weight [out, in] fp32; x and y packed.
torch::Tensor block_linear_packed(const torch::Tensor& x, const torch::Tensor& weight, const BlockTilesPtr& tiles,
                                  TileGradient gradient);

/// The same with y as rows, [tokens, out] in packed_type().
torch::Tensor block_linear_unpacked(const torch::Tensor& x, int64_t tokens, const torch::Tensor& weight,
                                    const BlockTilesPtr& tiles, TileGradient gradient);

/// The same from x [T, in] to [T, out] in x's type.
torch::Tensor block_linear(const torch::Tensor& x, const torch::Tensor& weight, const BlockTilesPtr& tiles,
                           TileGradient gradient);

}  // namespace ringflash
