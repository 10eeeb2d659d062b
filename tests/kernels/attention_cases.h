// Random attention problems and how close an fp32 result must come to the double one.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "expect_close.h"
#include "kernels/naive_attention.h"

namespace ringflash::testing {

inline std::vector<float> random_floats(size_t count, Rng& rng, double scale = 1.0) {
  std::vector<float> values(count);
  for (float& x : values) x = static_cast<float>(scale * rng.normal());
  return values;
}

inline std::vector<double> widen(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}

/// The largest norm of the rows of x, [rows, width].
inline double largest_norm(std::span<const float> x, int64_t width) {
  double largest = 0;
  for (size_t row = 0; row < x.size(); row += static_cast<size_t>(width)) {
    double sum = 0;
    for (const float value : x.subspan(row, static_cast<size_t>(width)))
      sum += static_cast<double>(value) * value;
    largest = std::max(largest, std::sqrt(sum));
  }
  return largest;
}

inline double largest(std::span<const float> x) {
  double result = 0;
  for (const float value : x) result = std::max(result, static_cast<double>(std::abs(value)));
  return result;
}

/// What the bounds of docs/numerics.md ("Attention") are made of.
struct AttentionMagnitudes {
  int64_t head_dim, keys;
  double q_norm, k_norm, v_norm, dout_norm;  ///< largest norm of a row
  double q_max, k_max, v_max, dout_max;      ///< largest element
  double key_mass = 0;                       ///< largest probability a key collects
};

struct AttentionTolerances {
  Tolerance out, lse, dq, dk, dv, dbias;
  double dlogit;  ///< of all keys of one query together
};

/// How far rounding makes attention stray. docs/numerics.md, "Attention", derives this. `inputs_rounded`: q,
/// k, v and dout are not bf16 numbers already, so that a bf16 table rounds them.
inline AttentionTolerances attention_tolerances(const AttentionMagnitudes& m,
                                                kernels::KeyType type = kernels::KeyType::kF32,
                                                bool inputs_rounded = true) {
  constexpr double kUnit = 0x1p-24, kSafety = 4;
  const bool narrow = type == kernels::KeyType::kBf16;
  const double exponential = narrow ? 1e-4 : 3e-7;
  const double weight = narrow ? 0x1p-8 : 0.0;                   // of a probability or of its gradient
  const double input = narrow && inputs_rounded ? 0x1p-8 : 0.0;  // of q, k, v and dout
  const double scale = 1.0 / std::sqrt(static_cast<double>(m.head_dim));
  const double dot = kSafety * std::sqrt(static_cast<double>(m.head_dim)) * kUnit;
  const double sum = kSafety * std::sqrt(static_cast<double>(m.keys)) * kUnit;
  const double logit = scale * (dot * m.q_norm * m.k_norm +
                                kSafety * input * std::min(m.q_max * m.k_norm, m.k_max * m.q_norm));
  const double lse = logit + exponential + sum;
  const double probability = 2 * logit + exponential + sum + weight;
  const double dp = m.dout_norm * m.v_norm;
  const double dlogit = (3 * probability + 2 * dot + 2 * sum + weight + 2 * input) * dp;
  return {.out = {.absolute = (probability + input) * m.v_max},
          .lse = {.absolute = lse, .relative = kUnit},
          .dq = {.absolute = scale * m.k_max * (dlogit + input * dp)},
          .dk = {.absolute = scale * m.q_max * m.key_mass * (dlogit + input * dp)},
          .dv = {.absolute = (probability + sum + input) * m.key_mass * m.dout_max},
          .dbias = {.absolute = m.key_mass * dlogit},
          .dlogit = dlogit};
}

}  // namespace ringflash::testing
