#include "runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

namespace ringflash {
namespace {

constexpr float kLowest = -std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

/// std::ranges::max, in lanes: that compilers turn into vectors, and vocabularies are large.
float largest(std::span<const float> values) {
  constexpr size_t kLanes = 16;
  float lanes[kLanes];
  std::ranges::fill(lanes, kLowest);
  size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = values[i + lane] > lanes[lane] ? values[i + lane] : lanes[lane];
  }
  for (; i < values.size(); ++i) lanes[0] = std::max(lanes[0], values[i]);
  return *std::ranges::max_element(lanes);
}

Error out_of_range(const char* option, const char* expected, double found) {
  return Error{std::string(option) + " must be " + expected + ", not " + std::to_string(found)};
}

}  // namespace

Status validate(const SamplingOptions& options) {
  if (!(options.temperature >= 0) || std::isinf(options.temperature)) {
    return out_of_range("temperature", "0 or a positive number", options.temperature);
  }
  if (options.top_k < 0) return Error{"top-k must be 0 (all) or more, not " + std::to_string(options.top_k)};
  if (!(options.top_p > 0 && options.top_p <= 1)) {
    return out_of_range("top-p", "above 0 and at most 1", options.top_p);
  }
  if (!(options.repetition_penalty > 0) || std::isinf(options.repetition_penalty)) {
    return out_of_range("repetition-penalty", "a number above 0", options.repetition_penalty);
  }
  if (options.repetition_window < 0) {
    return Error{"repetition-window must be 0 or more, not " + std::to_string(options.repetition_window)};
  }
  return {};
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {
  RF_CHECK(validate(options).ok());
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> history) {
  RF_CHECK(!logits.empty());
  load_scores(logits);
  if (options_.repetition_penalty != 1.0) penalise(history);
  highest_ = largest(scores_);
  if (options_.temperature == 0 || highest_ == kLowest) {
    return static_cast<int32_t>(std::ranges::find(scores_, highest_) - scores_.begin());  // the first of equals
  }

  order_.resize(scores_.size());
  std::iota(order_.begin(), order_.end(), 0);
  size_t candidates = order_.size();
  size_t sorted = 0;
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < candidates) {
    candidates = static_cast<size_t>(options_.top_k);
    sorted = sort_likeliest(0, candidates);
  }
  accumulate_weights(candidates);
  const size_t kept = options_.top_p < 1 ? keep_top_p(sorted) : candidates;

  // uniform() is at most 1 - 2^-53, so the target rounds to less than the last sum and the search finds an
  // id; the strict comparison skips ids of weight 0.
  const auto end = cumulative_.begin() + static_cast<ptrdiff_t>(kept);
  const auto drawn = std::upper_bound(cumulative_.begin(), end, rng_.uniform() * *(end - 1));
  RF_CHECK(drawn != end);
  return order_[static_cast<size_t>(drawn - cumulative_.begin())];
}

void Sampler::load_scores(std::span<const float> logits) {
  scores_.resize(logits.size());
  std::transform(logits.begin(), logits.end(), scores_.begin(),
                 [](float x) { return std::isnan(x) ? kLowest : std::min(x, kLargest); });
}

/// CTRL's rule: a seen token's score is divided by the penalty if positive, else multiplied by it, once
/// however often it was seen.
void Sampler::penalise(std::span<const int32_t> history) {
  const size_t window = std::min(history.size(), static_cast<size_t>(options_.repetition_window));
  seen_.assign(history.end() - static_cast<ptrdiff_t>(window), history.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  for (const int32_t id : seen_) {
    RF_CHECK(id >= 0 && static_cast<size_t>(id) < scores_.size());
    float& score = scores_[static_cast<size_t>(id)];
    if (score == kLowest) continue;
    const double penalty = options_.repetition_penalty;
    const double penalised = score > 0 ? score / penalty : score * penalty;
    score = static_cast<float>(std::clamp<double>(penalised, -kLargest, kLargest));
  }
}

/// Extends the sorted head of order_ from `sorted` ids to `wanted`.
size_t Sampler::sort_likeliest(size_t sorted, size_t wanted) {
  const auto begin = order_.begin();
  std::partial_sort(begin + static_cast<ptrdiff_t>(sorted), begin + static_cast<ptrdiff_t>(wanted),
                    order_.end(), [this](int32_t a, int32_t b) {
                      const float score_a = scores_[static_cast<size_t>(a)];
                      const float score_b = scores_[static_cast<size_t>(b)];
                      return score_a != score_b ? score_a > score_b : a < b;
                    });
  return wanted;
}

void Sampler::accumulate_weights(size_t candidates) {
  cumulative_.resize(candidates);
  double sum = 0;
  for (size_t i = 0; i < candidates; ++i) cumulative_[i] = sum += weight(order_[i]);
}

/// How many of the likeliest candidates it takes to reach top_p of the candidates' weight. Sorts no more of a
/// large vocabulary than it needs.
size_t Sampler::keep_top_p(size_t sorted) {
  const double wanted = options_.top_p * cumulative_.back();
  double sum = 0;
  size_t kept = 0;
  while (kept < cumulative_.size() && sum < wanted) {
    if (kept == sorted) sorted = sort_likeliest(sorted, std::min(8 * sorted + 128, cumulative_.size()));
    cumulative_[kept] = sum += weight(order_[kept]);
    ++kept;
  }
  return kept;
}

/// exp((score - highest) / temperature): the softmax up to its constant, at most 1.
double Sampler::weight(int32_t id) const {
  const double score = scores_[static_cast<size_t>(id)];
  return std::exp((score - highest_) / options_.temperature);
}

}  // namespace ringflash
