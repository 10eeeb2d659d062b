// Small operators that libtorch would run as several passes over memory. On the CPU each is one pass forward and
// one backward; elsewhere the composition of plain torch ops.
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>

namespace ringflash {

/// Rows of logits that are worked on at a time: about 4 Mi numbers, 8 MB in bf16.
inline int64_t logits_slice_rows(int64_t vocab_size) { return std::max<int64_t>(1, (int64_t{4} << 20) / vocab_size); }

/// x / sqrt(mean(x^2) + epsilon) * gain along the last dimension; x [T, D] fp32.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gain, double epsilon);

/// silu(gate) * up, fp32 or bf16.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);

/// Sum over t of -log softmax(hidden_t . weight^T)[targets_t], targets of -100 left out; the product runs in
/// `compute`. Rows are taken a slice at a time and their gradients computed on the way, so that the logits
/// [T, V] never exist as a whole (as Liger Kernel's fused linear cross entropy, Hsu et al. 2024).
///   hidden [T, D] fp32, weight [V, D] fp32, targets [T] int64. Returns a scalar, fp32.
torch::Tensor linear_cross_entropy(const torch::Tensor& hidden, const torch::Tensor& weight,
                                   const torch::Tensor& targets, torch::ScalarType compute);

}  // namespace ringflash
