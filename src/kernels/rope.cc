#include "kernels/rope.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <mutex>
#include <numbers>
#include <utility>

#include "base/check.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {
namespace {

/// Llama 3.1: what turns fewer than low_freq_factor times within the original length is slowed down, what turns more
/// than high_freq_factor times is kept.
double llama3_frequency(double frequency, const RopeScaling& s) {
  const double turns = static_cast<double>(s.original_positions) * frequency / (2 * std::numbers::pi);
  const double kept = std::clamp((turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0);
  return kept * frequency + (1 - kept) * frequency / s.factor;
}

/// Yarn (Peng et al. 2023, section 3.2): the pairs that turn beta_fast and beta_slow times within the original length,
/// rounded outwards, are the ends of a ramp from kept to slowed down.
double yarn_frequency(int64_t pair, int64_t head_dim, double theta, double frequency, const RopeScaling& s) {
  const auto pair_that_turns = [&](double times) {
    const double length = static_cast<double>(s.original_positions) / (times * 2 * std::numbers::pi);
    return static_cast<double>(head_dim) * std::log(length) / (2 * std::log(theta));
  };
  const double first = std::max(std::floor(pair_that_turns(s.beta_fast)), 0.0);
  const double last = std::min(std::ceil(pair_that_turns(s.beta_slow)), static_cast<double>(head_dim - 1));
  constexpr double kLeastRamp = 0.001;  // as the paper's code has it where both ends are one pair
  const double slowed = std::clamp((static_cast<double>(pair) - first) / std::max(last - first, kLeastRamp), 0.0, 1.0);
  return (1 - slowed) * frequency + slowed * frequency / s.factor;
}

double scaled(int64_t pair, int64_t head_dim, double frequency, const RopeParameters& parameters) {
  const RopeScaling& s = parameters.scaling;
  switch (s.type) {
    case RopeScalingType::kNone:
      return frequency;
    case RopeScalingType::kLinear:
      return frequency / s.factor;
    case RopeScalingType::kLlama3:
      return llama3_frequency(frequency, s);
    case RopeScalingType::kYarn:
      return yarn_frequency(pair, head_dim, parameters.theta, frequency, s);
  }
  RF_UNREACHABLE();
}

}  // namespace

std::vector<double> rope_frequencies(int64_t head_dim, const RopeParameters& parameters) {
  std::vector<double> frequencies;
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
    frequencies.push_back(scaled(i, head_dim, std::pow(parameters.theta, exponent), parameters));
  }
  return frequencies;
}

RopeTable make_rope_table(int64_t first, int64_t count, int64_t head_dim, const RopeParameters& parameters) {
  RF_CHECK(head_dim > 0 && head_dim % 2 == 0);
  RF_CHECK(first >= 0 && count >= 0);
  RopeTable table{.first = first, .count = count, .half = head_dim / 2, .cosine = {}, .sine = {}};
  table.cosine.resize(static_cast<size_t>(count * table.half));
  table.sine.resize(static_cast<size_t>(count * table.half));
  const std::vector<double> frequencies = rope_frequencies(head_dim, parameters);
  const double size = parameters.scaling.attention_factor;
  for (int64_t i = 0; i < table.half; ++i) {
    const double frequency = frequencies[static_cast<size_t>(i)];
    for (int64_t row = 0; row < count; ++row) {
      const double angle = static_cast<double>(first + row) * frequency;
      table.cosine[static_cast<size_t>(row * table.half + i)] = static_cast<float>(size * std::cos(angle));
      table.sine[static_cast<size_t>(row * table.half + i)] = static_cast<float>(size * std::sin(angle));
    }
  }
  return table;
}

std::shared_ptr<const RopeTable> shared_rope_table(int64_t count, int64_t head_dim,
                                                   const RopeParameters& parameters) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, RopeParameters>, std::shared_ptr<const RopeTable>> tables;
  const std::lock_guard lock(mutex);
  std::shared_ptr<const RopeTable>& table = tables[{head_dim, parameters}];
  if (!table || table->count < count) {
    const auto rounded = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));
    table = std::make_shared<const RopeTable>(make_rope_table(0, rounded, head_dim, parameters));
  }
  return table;
}

void rope_rotate(const float* x, float* y, const RopeTable& rope, int64_t position) {
  table().rope(x, y, rope.cosine_at(position), rope.sine_at(position), rope.half, 1.0f);
}

void rope_unrotate(const float* x, float* y, const RopeTable& rope, int64_t position) {
  table().rope(x, y, rope.cosine_at(position), rope.sine_at(position), rope.half, -1.0f);
}

}  // namespace ringflash::kernels
