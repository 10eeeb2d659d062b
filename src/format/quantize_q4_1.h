// The only packer and unpacker of Q4_1.
#pragma once

#include <span>

#include "format/block_q4_1.h"

namespace ringflash {

/// Blocks hold an fp16 minimum: weights beyond this might need one that does not fit.
inline constexpr float kMaxQ4_1 = 32768.0f;

/// `weights` is a multiple of 32 long, each at most kMaxQ4_1 in magnitude (so no NaN). A block that has at most 16
/// equidistant values, as blocks of Q4_0, Q4_1 and Q4_K do, gets those, but for the rounding of scale and minimum to
/// fp16: what came from Q4_1 comes back as it was. Otherwise the 16 values begin between the extremes and are fitted by
/// least squares in turn with the choice of the nearest.
void quantize_q4_1(std::span<const float> weights, std::span<BlockQ4_1> blocks);

/// weight = d n + m, rounded once.
void dequantize_q4_1(std::span<const BlockQ4_1> blocks, std::span<float> weights);

}  // namespace ringflash
