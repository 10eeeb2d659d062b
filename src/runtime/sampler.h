// From logits to the next token.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/rng.h"

namespace ringflash {

struct SamplingOptions {
  double temperature = 0.8;  ///< 0 picks the likeliest token
  int64_t top_k = 40;        ///< keep the k likeliest; 0 keeps all
  double top_p = 0.95;  ///< keep the likeliest tokens that together reach this probability (Holtzman 2020)
  double repetition_penalty = 1.0;  ///< > 1 makes tokens seen before less likely (Keskar et al., CTRL, 2019)
  int64_t repetition_window = 64;   ///< how many last tokens count as seen
  uint64_t seed = 0;
};

/// Checks ranges; the error names the option.
Status validate(const SamplingOptions& options);

/// Penalty, then temperature, top-k, top-p (of what top-k left), and a draw. Ties go to the lower id.
/// Deterministic given the seed. A NaN logit counts as -infinity, +infinity as the largest float; where every
/// logit is -infinity the answer is id 0.
class Sampler {
 public:
  /// `options` must be valid.
  explicit Sampler(const SamplingOptions& options);

  /// `logits` [vocab_size], not empty; `history` the ids so far, latest last, each within the vocabulary.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> history);

 private:
  void load_scores(std::span<const float> logits);
  void penalise(std::span<const int32_t> history);
  size_t sort_likeliest(size_t sorted, size_t wanted);
  void accumulate_weights(size_t candidates);
  size_t keep_top_p(size_t sorted);
  double weight(int32_t id) const;

  SamplingOptions options_;
  Rng rng_;
  float highest_ = 0;
  std::vector<float> scores_;       ///< by id
  std::vector<int32_t> order_;      ///< ids, the likeliest first as far as they are sorted
  std::vector<double> cumulative_;  ///< running sum of the weights of order_'s ids
  std::vector<int32_t> seen_;
};

}  // namespace ringflash
