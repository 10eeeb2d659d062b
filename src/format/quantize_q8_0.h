// The only packer and unpacker of Q8_0.
#pragma once

#include <span>

#include "format/block_q8_0.h"

namespace ringflash {

/// `weights` is a multiple of 32 long; scale = max|w| / 127 rounded to fp16, values rounded to nearest even.
void quantize_q8_0(std::span<const float> weights, std::span<BlockQ8_0> blocks);
void dequantize_q8_0(std::span<const BlockQ8_0> blocks, std::span<float> weights);

}  // namespace ringflash
