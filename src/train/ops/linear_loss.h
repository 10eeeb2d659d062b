// The head and its loss in one: logits [T, V] never exist as a whole. Rows are taken a slice at a time and their
// gradients computed on the way (as Liger Kernel's fused linear cross entropy, Hsu et al. 2024).
#pragma once

#include <torch/types.h>

namespace ringflash {

/// Sum over t of -log softmax(hidden_t . weight^T)[targets_t], targets of -100 left out; the product runs in
/// `compute`.
///   hidden [T, D] fp32, weight [V, D] fp32, targets [T] int64. Returns a scalar, fp32.
torch::Tensor linear_cross_entropy(const torch::Tensor& hidden, const torch::Tensor& weight,
                                   const torch::Tensor& targets, torch::ScalarType compute);

/// A teacher of the same vocabulary: its hidden states [T, D'] and head [V, D'], which may be of another width.
struct Teacher {
  torch::Tensor hidden, head;
  double weight;  ///< of the teacher's opinion against the targets', 0 to 1
};

/// The same with (1 - weight) [target] + weight softmax(teacher's logits) in the place of the targets (Hinton et al.
/// 2015, at temperature 1). The teacher gets no gradient.
torch::Tensor linear_distillation(const torch::Tensor& hidden, const torch::Tensor& weight,
                                  const torch::Tensor& targets, const Teacher& teacher, torch::ScalarType compute);

}  // namespace ringflash
