#include "kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "expect_close.h"

namespace ringflash::testing {
namespace {

TEST(RopeTable, HoldsTheAnglesOfItsPositions) {
  const kernels::RopeTable table = kernels::make_rope_table(100000, 3, 8, {10000.0});
  for (int64_t position = 100000; position < 100003; ++position) {
    for (int64_t i = 0; i < 4; ++i) {
      const double angle =
          static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(i) / 8.0);
      // Rounded to float once; the angle itself is off by less than 1e-11.
      EXPECT_NEAR(table.cosine_at(position)[i], std::cos(angle), 0x1p-24);
      EXPECT_NEAR(table.sine_at(position)[i], std::sin(angle), 0x1p-24);
    }
  }
}

TEST(RopeTable, SharedTablesGrowAndKeepTheirBits) {
  const auto small = kernels::shared_rope_table(3, 12, {5000.0});
  const auto large = kernels::shared_rope_table(100, 12, {5000.0});
  const kernels::RopeTable fresh = kernels::make_rope_table(0, 100, 12, {5000.0});
  ASSERT_GE(small->count, 3);
  ASSERT_GE(large->count, 100);
  EXPECT_EQ(kernels::shared_rope_table(50, 12, {5000.0}), large);
  for (int64_t i = 0; i < 100 * 6; ++i) {
    EXPECT_EQ(large->cosine[static_cast<size_t>(i)], fresh.cosine[static_cast<size_t>(i)]);
    EXPECT_EQ(large->sine[static_cast<size_t>(i)], fresh.sine[static_cast<size_t>(i)]);
  }
  EXPECT_NE(kernels::shared_rope_table(50, 12, {6000.0})->cosine, large->cosine);
}

// Position 1, two elements: (x, y) turned by one radian.
TEST(Rope, TurnsByThePosition) {
  const kernels::RopeTable table = kernels::make_rope_table(0, 2, 2, {10000.0});
  const std::vector<float> x = {3.0f, -2.0f};
  std::vector<float> y(2, kPoison);
  kernels::rope_rotate(x.data(), y.data(), table, 1);
  const std::vector<double> expected = {3 * std::cos(1.0) + 2 * std::sin(1.0),
                                        -2 * std::cos(1.0) + 3 * std::sin(1.0)};
  expect_close(y, expected, {.absolute = 8 * 0x1p-24});
}

TEST(Rope, PairsTheTwoHalves) {
  const kernels::RopeTable table = kernels::make_rope_table(0, 8, 6, {100.0});
  std::vector<float> y(6, kPoison);
  const std::vector<float> x = {0, 1, 0, 0, 0, 0};  // element 1 goes with element 4
  kernels::rope_rotate(x.data(), y.data(), table, 7);
  const double angle = 7 * std::pow(100.0, -2.0 / 6.0);
  expect_close(y, std::vector<double>{0, std::cos(angle), 0, 0, std::sin(angle), 0}, {.absolute = 0x1p-24});
}

TEST(Rope, UnrotateUndoesRotateInPlace) {
  const kernels::RopeTable table = kernels::make_rope_table(40, 10, 64, {10000.0});
  Rng rng(3);
  std::vector<float> x(64);
  for (float& value : x) value = static_cast<float>(rng.normal());
  std::vector<float> y = x;
  kernels::rope_rotate(y.data(), y.data(), table, 47);
  EXPECT_NE(y, x);
  kernels::rope_unrotate(y.data(), y.data(), table, 47);
  expect_close(y, x, {.absolute = 16 * 0x1p-24 * 4});  // two rotations of values below 4, 8 roundings each
}

// By wavelengths, as the definition has it.
TEST(RopeFrequencies, Llama3SlowsLongWavesDown) {
  const RopeParameters plain{.theta = 500000};
  RopeParameters scaled = plain;
  scaled.scaling.type = RopeScalingType::kLlama3;
  scaled.scaling.factor = 8;
  scaled.scaling.original_positions = 8192;
  const auto before = kernels::rope_frequencies(128, plain), after = kernels::rope_frequencies(128, scaled);
  ASSERT_EQ(after.size(), 64u);
  int kept = 0, slowed = 0;
  for (size_t i = 0; i < after.size(); ++i) {
    const double wave = 2 * M_PI / before[i];
    double expected = before[i];
    if (wave > 8192) {
      expected /= 8;
      ++slowed;
    } else if (wave >= 8192.0 / 4) {
      const double smooth = (8192 / wave - 1) / (4 - 1);
      expected = (1 - smooth) * before[i] / 8 + smooth * before[i];
    } else {
      ++kept;
    }
    EXPECT_NEAR(after[i], expected, 1e-15 * before[i] + 1e-18) << i;
  }
  EXPECT_GT(kept, 20);
  EXPECT_GT(slowed, 20);
}

// Qwen 2.5's setting: pairs below that which turns 32 times in 32768 positions stay, those above the one that turns once
// are divided by 4, and between lies a straight ramp.
TEST(RopeFrequencies, YarnRampsBetweenTwoPairs) {
  RopeParameters scaled{.theta = 1e6};
  scaled.scaling.type = RopeScalingType::kYarn;
  scaled.scaling.factor = 4;
  scaled.scaling.original_positions = 32768;
  scaled.scaling.attention_factor = yarn_attention_factor(4);
  EXPECT_NEAR(scaled.scaling.attention_factor, 1.1386294361, 1e-9);
  const auto before = kernels::rope_frequencies(128, {.theta = 1e6}), after = kernels::rope_frequencies(128, scaled);
  const auto turns = [&](size_t pair) { return 32768 * before[pair] / (2 * M_PI); };
  ASSERT_GT(turns(23), 32);
  ASSERT_LT(turns(24), 32);
  ASSERT_GT(turns(39), 1);
  ASSERT_LT(turns(40), 1);
  for (size_t i = 0; i < after.size(); ++i) {
    const double slowed = i <= 23 ? 0 : i >= 40 ? 1 : (static_cast<double>(i) - 23) / (40 - 23);
    EXPECT_NEAR(after[i] / before[i], 1 - slowed * 3 / 4, 1e-12) << i;
  }
  const kernels::RopeTable table = kernels::make_rope_table(0, 1, 128, scaled);
  EXPECT_EQ(table.cosine[0], static_cast<float>(scaled.scaling.attention_factor));
}

TEST(RopeFrequencies, LinearDividesAll) {
  RopeParameters scaled{.theta = 100};
  scaled.scaling.type = RopeScalingType::kLinear;
  scaled.scaling.factor = 8;
  const auto before = kernels::rope_frequencies(6, {.theta = 100}), after = kernels::rope_frequencies(6, scaled);
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(after[i], before[i] / 8);
}

}  // namespace
}  // namespace ringflash::testing
