#pragma once

#include <cstdint>

namespace ringflash {

/// a / b rounded up, for a >= 0 and b > 0.
constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// The least multiple of `granule` that is not below x, for x >= 0 and granule > 0.
constexpr int64_t round_up(int64_t x, int64_t granule) {
  return ceil_div(x, granule) * granule;
}

}  // namespace ringflash
