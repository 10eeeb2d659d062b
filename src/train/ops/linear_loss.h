// The head and its loss in one: logits [T, V] never exist as a whole. Rows are taken a slice at a time and their
// gradients computed on the way (as Liger Kernel's fused linear cross entropy, Hsu et al. 2024).
#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>

namespace ringflash {

/// Rows of logits that are worked on at a time: about 4 Mi numbers, 8 MB in bf16.
inline int64_t logits_slice_rows(int64_t vocab_size) { return std::max<int64_t>(1, (int64_t{4} << 20) / vocab_size); }

/// The same where they become gradients in place, in bf16 on the CPU: as many as half of the hidden size within 32 Mi numbers,
/// so that the head's gradient is not added to again and again for a few rows' sake.
inline int64_t fused_slice_rows(int64_t vocab_size, int64_t hidden_size) {
  return std::max(logits_slice_rows(vocab_size), std::min(hidden_size / 2, (int64_t{32} << 20) / vocab_size));
}

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
