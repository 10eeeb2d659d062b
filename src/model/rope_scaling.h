// How a model's rotary angles are stretched beyond the length it was first trained on, as data.
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace ringflash {

enum class RopeScalingType {
  kNone,
  kLinear,  ///< every angle divided by `factor` (Chen et al. 2023)
  kLlama3,  ///< slow angles divided by `factor`, fast ones kept, those between interpolated (Llama 3.1)
  kYarn,    ///< the same with a ramp over the dimensions, and q and k scaled (Peng et al. 2023)
};

std::string to_string(RopeScalingType type);
/// The names of Hugging Face's `rope_type`: "default", "linear", "llama3", "yarn".
Result<RopeScalingType> parse_rope_scaling_type(const std::string& text);

/// Names and meanings are those of Hugging Face's `rope_scaling`; what a type does not name it does not read.
struct RopeScaling {
  RopeScalingType type = RopeScalingType::kNone;
  double factor = 1;
  int64_t original_positions = 0;  ///< original_max_position_embeddings; kLlama3 and kYarn
  double low_freq_factor = 1;      ///< kLlama3
  double high_freq_factor = 4;
  double beta_fast = 32;  ///< kYarn
  double beta_slow = 1;
  double attention_factor = 1;  ///< what rotated q and k are both multiplied with

  auto operator<=>(const RopeScaling&) const = default;
};

/// Yarn's attention_factor where none is given: 0.1 ln(factor) + 1.
double yarn_attention_factor(double factor);

/// All that an angle depends on besides the position.
struct RopeParameters {
  double theta = 10000.0;
  RopeScaling scaling = {};

  auto operator<=>(const RopeParameters&) const = default;
};

/// The error names the key within 'rope_scaling'.
Status validate(const RopeScaling& scaling);

}  // namespace ringflash
