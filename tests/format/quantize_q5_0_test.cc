#include "format/quantize_q5_0.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "format/dense_encoding.h"
#include "format/quantize_q4_0.h"

namespace ringflash {
namespace {

constexpr int64_t kBlocks = 2000, kWeights = BlockQ5_0::kWeights;

std::vector<float> random_weights(uint64_t seed) {
  Rng rng(seed);
  std::vector<float> weights(kBlocks * kWeights);
  for (float& w : weights) w = static_cast<float>(0.1 * rng.normal());
  return weights;
}

std::vector<float> through_q5_0(const std::vector<float>& weights) {
  std::vector<BlockQ5_0> blocks(weights.size() / kWeights);
  std::vector<float> decoded(weights.size());
  quantize_q5_0(weights, blocks);
  dequantize_q5_0(blocks, decoded);
  return decoded;
}

/// Blocks with scales of either sign, whose numbers are from `least` to `least` + `numbers` - 1.
std::vector<float> random_blocks(uint64_t seed, uint64_t least, uint64_t numbers) {
  Rng rng(seed);
  std::vector<BlockQ5_0> blocks(kBlocks);
  for (BlockQ5_0& block : blocks) {
    block.scale = to_fp16(static_cast<float>(std::exp(rng.normal()) * (rng.below(2) == 0 ? 0.01 : -0.01)));
    for (uint64_t i = 0; i < kWeights; ++i) {
      const uint64_t n = least + rng.below(numbers);
      block.values[i % 16] |= static_cast<uint8_t>((n & 15) << (4 * (i / 16)));
      block.high[i / 8] |= static_cast<uint8_t>(n >> 4 << (i % 8));
    }
  }
  std::vector<float> weights(kBlocks * kWeights);
  dequantize_q5_0(blocks, weights);
  return weights;
}

// Not the same n: scales of which one is a multiple of the other give the same weights.
TEST(QuantizeQ5_0, BlocksComeBackToTheBit) {
  EXPECT_EQ(through_q5_0(random_blocks(1, 0, 32)), random_blocks(1, 0, 32));
  EXPECT_EQ(through_q5_0(random_blocks(2, 1, 31)), random_blocks(2, 1, 31));  // none is -16
  EXPECT_EQ(through_q5_0(random_blocks(3, 10, 9)), random_blocks(3, 10, 9));
  EXPECT_EQ(through_q5_0(random_blocks(4, 20, 3)), random_blocks(4, 20, 3));
}

TEST(QuantizeQ5_0, OthersAreWithinHalfAStep) {
  const std::vector<float> weights = random_weights(5), decoded = through_q5_0(weights);
  for (size_t b = 0; b < kBlocks; ++b) {
    float largest = 0;
    for (size_t i = b * kWeights; i < (b + 1) * kWeights; ++i) {
      if (std::abs(weights[i]) > std::abs(largest)) largest = weights[i];
    }
    const float step = std::abs(largest) / 16;
    for (size_t i = b * kWeights; i < (b + 1) * kWeights; ++i) {
      // The 16th step on the other side is the 15th; fp16 moves all 16 by at most 2^-11 of them.
      const float clipped = weights[i] * largest < 0 ? std::max(std::abs(weights[i]) - 15.5f * step, 0.0f) : 0.0f;
      ASSERT_NEAR(decoded[i], weights[i], step * (0.5f + 16 * 0x1p-11f + 0x1p-10f) + clipped) << "block " << b;
    }
  }
}

TEST(QuantizeQ5_0, TakesBlocksOfOneValue) {
  for (const float value : {0.0f, 1.0f, -1.0f, kMaxQ5_0, -kMaxQ5_0}) {
    EXPECT_EQ(through_q5_0(std::vector<float>(kWeights, value)), std::vector<float>(kWeights, value));
  }
}

TEST(QuantizeQ5_0, HoldsWhatCameFromItAndFromQ4_0) {
  const std::vector<float> weights = random_weights(6);
  EXPECT_FALSE(holds(GgufType::kQ5_0, weights, 64));
  EXPECT_TRUE(holds(GgufType::kQ5_0, through_q5_0(weights), 64));
  EXPECT_FALSE(holds(GgufType::kQ4_1, through_q5_0(weights), 64));
  std::vector<BlockQ4_0> blocks(kBlocks);
  std::vector<float> from_q4_0(weights.size());
  quantize_q4_0(weights, blocks);
  dequantize_q4_0(blocks, from_q4_0);
  EXPECT_TRUE(holds(GgufType::kQ5_0, from_q4_0, 64));
}

}  // namespace
}  // namespace ringflash
