#include "train/loss_guard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ringflash {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A guard that has seen losses of 3 +- 0.1.
LossGuard settled() {
  LossGuard guard;
  for (int i = 0; i < 400; ++i) EXPECT_EQ(guard.judge(i % 2 == 0 ? 2.9 : 3.1, 1, 8), "");
  return guard;
}

TEST(LossGuard, LearnsMeanAndVariance) {
  const LossGuard guard = settled();
  EXPECT_NEAR(guard.mean, 3, 0.01);
  EXPECT_NEAR(std::sqrt(guard.variance), 0.1, 0.01);
}

TEST(LossGuard, WhatIsNoNumberIsNeverTaken) {
  for (const double loss : {std::nan(""), kInfinity, -kInfinity}) {
    LossGuard guard;
    EXPECT_NE(guard.judge(loss, 1, 0), "");
    EXPECT_NE(guard.judge(3, loss, 0), "");
    EXPECT_EQ(guard.bad_in_row, 2);
    EXPECT_EQ(guard.seen, 0);
  }
}

TEST(LossGuard, SpikesAreSkippedAndForgotten) {
  LossGuard guard = settled();
  const double mean = guard.mean;
  EXPECT_EQ(guard.judge(3.7, 1, 8), "");
  guard = settled();
  EXPECT_NE(guard.judge(3.9, 1, 8), "");
  EXPECT_EQ(guard.mean, mean) << "a spike must not raise the limit";
  EXPECT_EQ(guard.judge(3, 1, 8), "");
  EXPECT_EQ(guard.bad_in_row, 0);
}

TEST(LossGuard, TheFirstLossesMayBeAnything) {
  LossGuard guard;
  for (int i = 0; i < LossGuard::kLearning; ++i) EXPECT_EQ(guard.judge(i < 50 ? 3 : 30, 1, 8), "") << i;
}

TEST(LossGuard, AFallingLossIsNoSpike) {
  LossGuard guard;
  for (int i = 0; i < 2000; ++i) EXPECT_EQ(guard.judge(8 * std::exp(-i / 100.0) + 0.1 * (i % 3), 1, 8), "") << i;
}

TEST(LossGuard, NoThresholdTakesAnySpike) {
  LossGuard guard = settled();
  EXPECT_EQ(guard.judge(1e6, 1, 0), "");
}

}  // namespace
}  // namespace ringflash
