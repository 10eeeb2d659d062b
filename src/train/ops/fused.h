// Small operators that libtorch would run as several passes over memory. On the CPU each is one pass forward and
// one backward; elsewhere the composition of plain torch ops.
#pragma once

#include <torch/types.h>

namespace ringflash {

/// x + y of x fp32 and y in the type of products.
torch::Tensor residual_sum(const torch::Tensor& x, const torch::Tensor& y);

/// silu(gate) * up, fp32 or bf16.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);

/// gelu(gate) * up, by tanh: two of torch's own operators.
torch::Tensor geglu(const torch::Tensor& gate, const torch::Tensor& up);

}  // namespace ringflash
