// The only packer and unpacker of Q5_0.
#pragma once

#include <span>

#include "format/block_q5_0.h"

namespace ringflash {

/// Blocks hold an fp16 scale: the largest magnitude that fits.
inline constexpr float kMaxQ5_0 = 16.0f * 65504.0f;

/// `weights` is a multiple of 32 long, each at most kMaxQ5_0 in magnitude (so no NaN). A block whose weights are all small
/// multiples of one number, as those of Q5_0 and Q4_0 are, gets those, to the bit where that number fits fp16. Otherwise the
/// weight of largest magnitude becomes -16, as ggml does, which gives d its sign, and the others the nearest of -16 to 15.
void quantize_q5_0(std::span<const float> weights, std::span<BlockQ5_0> blocks);

/// weight = d (n - 16), rounded once.
void dequantize_q5_0(std::span<const BlockQ5_0> blocks, std::span<float> weights);

}  // namespace ringflash
