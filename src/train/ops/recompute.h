// Giving up activations that backward can compute again (Chen et al., Training Deep Nets with Sublinear Memory Cost,
// 2016). Gradients are the same bits as with everything kept: what runs again is the same, in the same order.
#pragma once

#include <torch/types.h>

#include <functional>
#include <vector>

namespace ringflash {

/// Part of a model as a function of one tensor and of parameters that it knows itself.
using ModelPart = std::function<torch::Tensor(const torch::Tensor&)>;

/// part(x), keeping x alone: backward runs `part` again. `parameters`: all that it depends on besides x.
torch::Tensor recomputed(const ModelPart& part, const torch::Tensor& x, const std::vector<torch::Tensor>& parameters);

/// A part of a model that ends with linear(inner, weight), which is added to `residual` where that is defined.
struct LinearEnd {
  torch::Tensor inner, residual;
};
using LinearPart = std::function<LinearEnd(const torch::Tensor&)>;

/// What `part` of x ends with, keeping x and the weight [out, in] alone. Cheaper than recomputed() of the whole: the product
/// itself does not run again.
torch::Tensor recomputed_linear(const LinearPart& part, const torch::Tensor& x,
                                const std::vector<torch::Tensor>& parameters, const torch::Tensor& weight);

/// linear(x, weight) for x [T, in] that is not kept: backward calls `again` for the same numbers. Gradients flow to x as
/// usual, so whatever made it must not need it either.
torch::Tensor forgetful_linear(const torch::Tensor& x, const torch::Tensor& weight,
                               const std::function<torch::Tensor()>& again);

}  // namespace ringflash
