// Moments in 8 bits (kernels/dynamic_map.h) in torch's own ops: for other devices, and to check the kernels by.
#pragma once

#include <torch/types.h>

#include "kernels/dynamic_map.h"

namespace ringflash {

/// How many scales so many numbers have.
int64_t moment_blocks(int64_t numbers);

/// Codes (uint8, any shape) and their blocks' scales -> fp32 of the codes' shape.
torch::Tensor decode_moment(const torch::Tensor& codes, const torch::Tensor& scales, const kernels::DynamicMap& map);

/// The reverse: x into codes and scales that are there.
void encode_moment(const torch::Tensor& x, const kernels::DynamicMap& map, torch::Tensor& codes, torch::Tensor& scales);

}  // namespace ringflash
