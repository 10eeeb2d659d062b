// What recompute_plan.h chooses from, measured on the model itself.
#pragma once

#include <torch/types.h>

#include <vector>

#include "train/causal_lm.h"
#include "plan/recompute_plan.h"

namespace ringflash {

/// Runs layers forward and backward on ids [T] with documents at `bounds`, one of each kind, at each level, and says what
/// each layer keeps and how long it takes. On the CPU: counts what the allocator has handed out. Gradients of the
/// parameters are left alone.
std::vector<LayerCosts> measure_recomputation(CausalLm& model, const torch::Tensor& ids,
                                              const std::vector<int64_t>& bounds, torch::ScalarType compute);

/// Sets each layer's level.
void apply_levels(CausalLm& model, const std::vector<Recompute>& levels);

}  // namespace ringflash
