// Ring attention as a differentiable torch operator: torch.ops.ringflash.ring_attention in Python.
#pragma once

#include <torch/types.h>

#include <optional>
#include <vector>

#include "model/config.h"

namespace ringflash {

struct AttentionOptions {
  AttentionKind kind = AttentionKind::kRing;
  AttentionMode mode = AttentionMode::kCausal;
  RingGeometry ring;
  RopeParameters rope = {};
  int64_t sliding_window = 0;  ///< of sliding layers
  int64_t first_query = 0;     ///< q and the result begin with this row of k (kernels/ring_attention.h)
};

/// What attention gave, for running a layer again without it.
struct AttentionResult {
  torch::Tensor out, lse;
};

/// Attention over packed documents, rotary embedding included (DESIGN section 3).
///   q [tokens - first_query, heads, head_dim]; k, v [tokens, key_value_heads, head_dim]: unrotated, fp32 or bf16
///   router [tokens, key_value_heads] fp32, or undefined for layers without one
///   bounds: document edges 0 = b0 < b1 < ... = tokens
/// Returns q's shape and type. On the CPU our kernels run, forward and backward; on any other device the composition of
/// plain torch ops below does. `kept`, where given: the result is put there or, if it is there already, taken from there
/// (not where torch ops run).
torch::Tensor ring_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                             const torch::Tensor& router, const std::vector<int64_t>& bounds,
                             const AttentionOptions& options, AttentionResult* kept = nullptr);

/// The same by plain torch ops, in the inputs' own precision and with a whole tokens-by-tokens matrix per
/// document: the check on the kernels, and what CUDA uses.
torch::Tensor ring_attention_composed(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                                      const torch::Tensor& router, const std::vector<int64_t>& bounds,
                                      const AttentionOptions& options);

}  // namespace ringflash
