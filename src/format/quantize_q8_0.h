// The only packer and unpacker of Q8_0.
#pragma once

#include <span>

#include "format/block_q8_0.h"

namespace ringflash {

/// Blocks hold fp16 scales: weights beyond this do not fit.
inline constexpr float kMaxQ8_0 = 127.0f * 65504.0f;

/// `weights` is a multiple of 32 long, each at most kMaxQ8_0 in magnitude (so no NaN). The scale d is max|w| / 127
/// rounded to fp16, values are w / d rounded to nearest even: |w - d q| <= d / 2, but for the rounding of w / d.
void quantize_q8_0(std::span<const float> weights, std::span<BlockQ8_0> blocks);

/// weight = d q, exactly: the product of 11 and 7 bits fits a float.
void dequantize_q8_0(std::span<const BlockQ8_0> blocks, std::span<float> weights);

}  // namespace ringflash
