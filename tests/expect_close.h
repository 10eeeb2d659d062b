// The one way tests compare numbers: |actual - expected| <= tolerance, element by element. NaN and infinity in
// either side fail (unless both are the same infinity); so does an empty comparison.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <vector>

namespace ringflash::testing {

/// tolerance_i = absolute + relative * |expected_i|. How each test's numbers are derived: docs/numerics.md.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
};

template <typename Expected>
::testing::AssertionResult is_close(std::span<const float> actual, std::span<const Expected> expected,
                                    Tolerance tolerance) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure() << actual.size() << " values, expected " << expected.size();
  }
  if (actual.empty()) return ::testing::AssertionFailure() << "nothing to compare";
  for (size_t i = 0; i < actual.size(); ++i) {
    const double want = static_cast<double>(expected[i]);
    const double got = static_cast<double>(actual[i]);
    if (std::isinf(want) && want == got) continue;
    const double limit = tolerance.absolute + tolerance.relative * std::abs(want);
    if (!(std::abs(got - want) <= limit)) {
      return ::testing::AssertionFailure() << "at " << i << ": " << got << ", expected " << want << " within "
                                           << limit << " (off by " << std::abs(got - want) << ")";
    }
  }
  return ::testing::AssertionSuccess();
}

template <typename Expected>
void expect_close(const std::vector<float>& actual, const std::vector<Expected>& expected, Tolerance tolerance) {
  EXPECT_TRUE(is_close(std::span<const float>(actual), std::span<const Expected>(expected), tolerance));
}

inline void expect_same_bits(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  EXPECT_EQ(0, std::memcmp(actual.data(), expected.data(), expected.size() * sizeof(float)));
}

/// Fills outputs before a call, so that what was never written cannot pass.
inline constexpr float kPoison = std::numeric_limits<float>::quiet_NaN();

}  // namespace ringflash::testing
