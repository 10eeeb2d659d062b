// From logits to the next token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/rng.h"

namespace ringflash {

struct SamplingOptions {
  double temperature = 0.8;  ///< 0 picks the likeliest token
  int64_t top_k = 40;        ///< keep the k likeliest; 0 keeps all
  double top_p = 0.95;       ///< keep the likeliest tokens that together reach this probability (Holtzman 2020)
  double repetition_penalty = 1.0;  ///< > 1 makes tokens seen before less likely (Keskar et al., CTRL, 2019)
  int64_t repetition_window = 64;   ///< how many last tokens count as seen
  uint64_t seed = 0;
};

/// Checks ranges; the error names the option.
Status validate(const SamplingOptions& options);

/// Penalty, then temperature, top-k, top-p, and a draw. Ties go to the lower id. Deterministic given the seed.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options);
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history);

 private:
  SamplingOptions options_;
  Rng rng_;
  std::vector<float> scores_;
  std::vector<int32_t> order_;
};

}  // namespace ringflash
