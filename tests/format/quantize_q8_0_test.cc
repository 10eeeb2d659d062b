#include "format/quantize_q8_0.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"

namespace ringflash {
namespace {

constexpr int64_t kBlock = BlockQ8_0::kWeights;

BlockQ8_0 quantize_block(const std::array<float, kBlock>& weights) {
  BlockQ8_0 block;
  std::memset(&block, 0x7e, sizeof block);  // what is not written shows
  quantize_q8_0(weights, std::span(&block, 1));
  return block;
}

std::array<float, kBlock> dequantize_block(const BlockQ8_0& block) {
  std::array<float, kBlock> weights;
  weights.fill(std::numeric_limits<float>::quiet_NaN());
  dequantize_q8_0(std::span(&block, 1), weights);
  return weights;
}

/// |w - d q| <= d / 2. The quotient w / d is rounded to a float before it is rounded to q: at most 127.5 *
/// 2^-24 more, in steps of d.
void expect_within_half_a_step(const std::array<float, kBlock>& weights) {
  const BlockQ8_0 block = quantize_block(weights);
  const auto restored = dequantize_block(block);
  const double d = to_float(block.scale);
  for (int64_t i = 0; i < kBlock; ++i) {
    const double error = std::abs(static_cast<double>(weights[i]) - restored[i]);
    ASSERT_TRUE(error <= d * (0.5 + 127.5 * 0x1p-24))
        << weights[i] << " became " << restored[i] << ", d " << d;
  }
}

TEST(QuantizeQ8_0, StaysWithinHalfAStepAtEveryMagnitude) {
  Rng rng(1);
  for (int exponent = -40; exponent <= 22; ++exponent) {  // fp16 scales: subnormal, zero, normal
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::array<float, kBlock> weights;
      for (float& w : weights) w = static_cast<float>(std::ldexp(2 * rng.uniform() - 1, exponent));
      expect_within_half_a_step(weights);
    }
  }
}

TEST(QuantizeQ8_0, ScaleIsTheLargestOver127) {
  Rng rng(2);
  for (int repeat = 0; repeat < 1000; ++repeat) {
    std::array<float, kBlock> weights;
    float largest = 0;
    for (float& w : weights) {
      w = static_cast<float>(rng.normal());
      largest = std::max(largest, std::abs(w));
    }
    const BlockQ8_0 block = quantize_block(weights);
    EXPECT_EQ(block.scale.bits, to_fp16(largest / 127.0f).bits);
    EXPECT_EQ(std::abs(*std::max_element(std::begin(block.values), std::end(block.values),
                                         [](int a, int b) { return std::abs(a) < std::abs(b); })),
              127);
  }
}

TEST(QuantizeQ8_0, KnownBlock) {
  std::array<float, kBlock> weights{};
  weights[0] = 254.0f;  // d = 2
  weights[1] = -254.0f;
  weights[2] = 3.0f;  // 1.5: to even, up
  weights[3] = 5.0f;  // 2.5: to even, down
  weights[4] = -0.5f;
  weights[31] = 100.0f;
  const BlockQ8_0 block = quantize_block(weights);
  EXPECT_EQ(block.scale.bits, 0x4000);
  EXPECT_EQ((std::array{block.values[0], block.values[1], block.values[2], block.values[3], block.values[4],
                        block.values[5], block.values[31]}),
            (std::array<int8_t, 7>{127, -127, 2, 2, 0, 0, 50}));
}

TEST(QuantizeQ8_0, ZerosStayZeros) {
  const BlockQ8_0 block = quantize_block({});
  EXPECT_EQ(block.scale.bits, 0);
  for (const int8_t value : block.values) EXPECT_EQ(value, 0);
  for (const float w : dequantize_block(block)) EXPECT_EQ(w, 0.0f);
}

TEST(QuantizeQ8_0, TheLargestWeightsStayFinite) {
  std::array<float, kBlock> weights;
  weights.fill(-kMaxQ8_0);
  for (const float w : dequantize_block(quantize_block(weights))) EXPECT_EQ(w, -kMaxQ8_0);
}

TEST(QuantizeQ8_0, RefusesWhatDoesNotFit) {
  std::array<float, kBlock> weights{};
  BlockQ8_0 block;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          std::nextafter(kMaxQ8_0, std::numeric_limits<float>::infinity())}) {
    weights[5] = bad;
    EXPECT_DEATH(quantize_q8_0(weights, std::span(&block, 1)), "internal error");
  }
}

TEST(QuantizeQ8_0, BlocksFollowOneAnother) {
  std::vector<float> weights(3 * kBlock), restored(3 * kBlock, std::nanf(""));
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i / kBlock + 1) * 127.0f;
  std::vector<BlockQ8_0> blocks(3);
  quantize_q8_0(weights, blocks);
  dequantize_q8_0(blocks, restored);
  EXPECT_EQ(restored, weights);
}

}  // namespace
}  // namespace ringflash
