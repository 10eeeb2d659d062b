#include "base/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ringflash {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The value of fp16 bits from the format's definition.
double fp16_value(uint32_t bits) {
  const double sign = bits & 0x8000u ? -1 : 1;
  const int exponent = static_cast<int>(bits >> 10 & 0x1fu);
  const double mantissa = bits & 0x3ffu;
  if (exponent == 31) return mantissa == 0 ? sign * kInfinity : NAN;
  return exponent == 0 ? sign * std::ldexp(mantissa, -24) : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

TEST(Fp16, EveryPatternDecodesAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(fp16{static_cast<uint16_t>(bits)});
    const double expected = fp16_value(bits);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      EXPECT_TRUE(std::isnan(to_float(to_fp16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(double{value}, expected) << bits;
    ASSERT_EQ(std::signbit(value), (bits & 0x8000u) != 0) << bits;
    ASSERT_EQ(to_fp16(value).bits, bits);
  }
}

TEST(Fp16, RoundsToTheNearestAndTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {  // every pair of neighbouring finite values
    const auto low = static_cast<float>(fp16_value(bits)), high = static_cast<float>(fp16_value(bits + 1));
    const float middle = low + (high - low) / 2;  // exact: fp32 has 13 more bits
    ASSERT_EQ(to_fp16(middle).bits, bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(to_fp16(std::nextafter(middle, -kInfinity)).bits, bits);
    ASSERT_EQ(to_fp16(std::nextafter(middle, kInfinity)).bits, bits + 1);
    ASSERT_EQ(to_fp16(-middle).bits, to_fp16(middle).bits | 0x8000u);
  }
  EXPECT_EQ(to_fp16(65519.996f).bits, 0x7bff);  // below the middle between 65504 and what would be 65536
  EXPECT_EQ(to_fp16(65520.0f).bits, 0x7c00);
  EXPECT_EQ(to_fp16(1e30f).bits, 0x7c00);
  EXPECT_EQ(to_fp16(1e-30f).bits, 0);
}

TEST(Bf16, EveryPatternDecodesAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = to_float(bf16{static_cast<uint16_t>(bits)});
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(to_float(to_bf16(value)))) << bits;
    } else {
      ASSERT_EQ(to_bf16(value).bits, bits);
    }
  }
  EXPECT_EQ(to_float(bf16{0x3f80}), 1.0f);
  EXPECT_EQ(to_float(bf16{0xc049}), -3.140625f);
}

TEST(Bf16, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f).bits, 0x3f80);            // a tie, down to the even neighbour
  EXPECT_EQ(to_bf16(1.0f + 0x1p-7f + 0x1p-8f).bits, 0x3f82);  // a tie, up to the even neighbour
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f + 0x1p-20f).bits, 0x3f81);
  EXPECT_EQ(to_bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(0x7f800001u)))));  // not to infinity
}

}  // namespace
}  // namespace ringflash
