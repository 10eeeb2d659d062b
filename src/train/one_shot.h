// Compressing one trained weight matrix at once: which weights go, what the others become, so that the
// layer's output on real inputs changes least. The starting point of fine-tuning.
#pragma once

#include <torch/types.h>

#include "base/result.h"
#include "train/masks.h"

namespace ringflash {

enum class OneShotMethod {
  kMagnitude,  ///< the smallest go; the others stay as they are
  kWanda,      ///< those with the smallest |w| * |x| go (Sun et al. 2023)
  kObs,        ///< the same with the error made up for by the weights still to come (SparseGPT, Frantar and
               ///< Alistarh 2023; GPTQ)
};

std::string to_string(OneShotMethod method);
Result<OneShotMethod> parse_one_shot_method(const std::string& text);

struct OneShotTarget {
  MaskShape shape;
  int64_t bits = 16;  ///< 4 or 8 quantise what stays (fine pattern, columns a multiple of 64), 16 leaves it
};

/// weight [out, in] fp32 -> what is left of it: zeros where it is pruned, and values that S4 or S8 hold
/// exactly. `gram` [in, in] is sum x^T x over the layer's inputs; kMagnitude does not look at it.
torch::Tensor compress_matrix(const torch::Tensor& weight, const torch::Tensor& gram,
                              const OneShotTarget& target, OneShotMethod method);

/// The weight [out, in] moved by `strength` of the way (0 leaves it alone) to the one that gives on the inputs x of a model
/// compressed so far what `weight` gave on those of the dense model, x_d, as nearly as a matrix can: weight + strength weight
/// drift gram^-1 (error propagation as in QEP, Arai and Ichikawa 2025). gram = sum x^T x, drift = sum (x_d - x)^T x, both
/// [in, in].
torch::Tensor made_up_for_drift(const torch::Tensor& weight, const torch::Tensor& gram, const torch::Tensor& drift,
                                double strength);

}  // namespace ringflash
