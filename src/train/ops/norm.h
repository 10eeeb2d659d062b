// RMSNorm (Zhang and Sennrich 2019), and what takes its result, as one pass over memory forward and one backward on the CPU.
#pragma once

#include <torch/types.h>

namespace ringflash {

/// x / sqrt(mean(x^2) + epsilon) * gain along the last dimension; x [T, D] fp32.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gain, double epsilon);

/// What a norm's products take.
struct Normed {
  torch::Tensor rounded;  ///< rms_norm() in the type of products
  torch::Tensor scores;   ///< rms_norm() times the router's weight transposed, [T, heads] fp32; undefined without a router
};

/// router is [heads, D] fp32, or undefined. Nothing but x and the weights is kept for backward.
Normed rms_norm_for_products(const torch::Tensor& x, const torch::Tensor& gain, double epsilon, torch::ScalarType type,
                             const torch::Tensor& router);

}  // namespace ringflash
