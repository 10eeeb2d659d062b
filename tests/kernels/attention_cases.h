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
};

/// docs/numerics.md, "Attention", derives these.
inline AttentionTolerances attention_tolerances(const AttentionMagnitudes& m) {
  constexpr double kUnit = 0x1p-24, kExp = 3e-7, kSafety = 4;
  const double dot = kSafety * std::sqrt(static_cast<double>(m.head_dim)) * kUnit;
  const double sum = kSafety * std::sqrt(static_cast<double>(m.keys)) * kUnit;
  const double scale = 1.0 / std::sqrt(static_cast<double>(m.head_dim));
  const double logit = dot * scale * m.q_norm * m.k_norm;
  const double lse = logit + kExp + sum;
  const double probability = 2 * logit + kExp + sum;
  const double dp = m.dout_norm * m.v_norm;
  const double dlogit = (3 * probability + 2 * dot + 2 * sum) * dp;
  return {.out = {.absolute = probability * m.v_max},
          .lse = {.absolute = lse, .relative = kUnit},
          .dq = {.absolute = scale * m.k_max * dlogit},
          .dk = {.absolute = scale * m.q_max * m.key_mass * dlogit},
          .dv = {.absolute = (probability + sum) * m.key_mass * m.dout_max},
          .dbias = {.absolute = m.key_mass * dlogit}};
}

}  // namespace ringflash::testing
