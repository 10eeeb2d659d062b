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

}  // namespace
}  // namespace ringflash::testing
