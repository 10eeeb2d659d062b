// The only packer and unpacker of Q4_0.
#pragma once

#include <span>

#include "format/block_q4_0.h"

namespace ringflash {

/// Blocks hold fp16 scales: weights beyond this do not fit.
inline constexpr float kMaxQ4_0 = 8.0f * 65504.0f;

/// `weights` is a multiple of 32 long, each at most kMaxQ4_0 in magnitude (so no NaN). As ggml does it: the weight w of
/// largest magnitude becomes -8, d = -w / 8 rounded to fp16, and the others the nearest of -8 to 7.
void quantize_q4_0(std::span<const float> weights, std::span<BlockQ4_0> blocks);

/// weight = d (n - 8), exactly.
void dequantize_q4_0(std::span<const BlockQ4_0> blocks, std::span<float> weights);

}  // namespace ringflash
