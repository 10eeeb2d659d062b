#include "format/quantize_q4_1.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "format/block_q4_0.h"
#include "format/dense_encoding.h"
#include "format/quantize_q4_0.h"

namespace ringflash {
namespace {

constexpr int64_t kBlocks = 2000, kWeights = BlockQ4_1::kWeights;

std::vector<float> random_weights(uint64_t seed) {
  Rng rng(seed);
  std::vector<float> weights(kBlocks * kWeights);
  for (float& w : weights) w = static_cast<float>(0.1 * rng.normal() + 0.02);
  return weights;
}

std::vector<float> through_q4_1(const std::vector<float>& weights) {
  std::vector<BlockQ4_1> blocks(weights.size() / kWeights);
  std::vector<float> decoded(weights.size());
  quantize_q4_1(weights, blocks);
  dequantize_q4_1(blocks, decoded);
  return decoded;
}

/// Blocks with scales of either sign and values that leave out ends and more.
std::vector<BlockQ4_1> random_blocks() {
  Rng rng(3);
  std::vector<BlockQ4_1> blocks(kBlocks);
  for (BlockQ4_1& block : blocks) {
    block.scale = to_fp16(static_cast<float>(std::exp(rng.normal()) * (rng.below(2) == 0 ? 0.01 : -0.01)));
    block.minimum = to_fp16(static_cast<float>(0.1 * rng.normal()));
    const uint64_t least = rng.below(8), values = 1 + rng.below(8);
    for (uint8_t& byte : block.values) {
      byte = static_cast<uint8_t>((least + rng.below(values)) | (least + rng.below(values)) << 4);
    }
  }
  return blocks;
}

double squared_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - double{b[i]}, 2);
  return sum;
}

TEST(QuantizeQ4_1, BlocksComeBackAsTheyWere) {
  std::vector<float> weights(kBlocks * kWeights);
  dequantize_q4_1(random_blocks(), weights);
  const std::vector<float> decoded = through_q4_1(weights);
  for (size_t b = 0; b < kBlocks; ++b) {
    const auto block = std::span(weights).subspan(b * kWeights, kWeights);
    float largest = 0;
    for (const float w : block) largest = std::max(largest, std::abs(w));
    for (size_t i = 0; i < kWeights; ++i) {
      // Two grids may share the values in use, and the other one's minimum be off by half an fp16 step of up to 16 times
      // what is there: the error stays that of fp16, far below the grid's.
      ASSERT_NEAR(decoded[b * kWeights + i], block[i], 0x1p-9f * largest) << "block " << b << " weight " << i;
    }
  }
}

TEST(QuantizeQ4_1, BlocksOfAllSixteenValuesComeBackToTheBit) {
  std::vector<BlockQ4_1> blocks = random_blocks(), again(kBlocks);
  for (BlockQ4_1& block : blocks) {
    block.scale.bits &= 0x7fff;
    for (uint8_t i = 0; i < 16; ++i) block.values[i] = static_cast<uint8_t>(i | (15 - i) << 4);
  }
  std::vector<float> weights(kBlocks * kWeights);
  dequantize_q4_1(blocks, weights);
  quantize_q4_1(weights, again);
  EXPECT_EQ(std::memcmp(again.data(), blocks.data(), kBlocks * sizeof(BlockQ4_1)), 0);
}

TEST(QuantizeQ4_1, IsCloserThanTheExtremesAlone) {
  const std::vector<float> weights = random_weights(1);
  std::vector<float> plain = weights;
  for (size_t b = 0; b < kBlocks; ++b) {
    const auto block = std::span(plain).subspan(b * kWeights, kWeights);
    const auto [low, high] = std::ranges::minmax(block);
    const float step = (high - low) / 15;
    for (float& w : block) w = low + step * std::nearbyint((w - low) / step);
  }
  EXPECT_LT(squared_distance(through_q4_1(weights), weights), 0.95 * squared_distance(plain, weights));
}

TEST(QuantizeQ4_1, TakesBlocksOfOneValue) {
  for (const float value : {0.0f, 1.0f, -kMaxQ4_1, kMaxQ4_1}) {
    EXPECT_EQ(through_q4_1(std::vector<float>(kWeights, value)), std::vector<float>(kWeights, value));
  }
}

TEST(Holds, KnowsWhatCameFromFourBits) {
  const std::vector<float> weights = random_weights(2);
  EXPECT_FALSE(holds(GgufType::kQ4_0, weights, 64));
  EXPECT_FALSE(holds(GgufType::kQ4_1, weights, 64));
  EXPECT_TRUE(holds(GgufType::kF32, weights, 64));
  const std::vector<float> from_q4_1 = through_q4_1(weights);
  EXPECT_FALSE(holds(GgufType::kQ4_0, from_q4_1, 64));
  EXPECT_TRUE(holds(GgufType::kQ4_1, from_q4_1, 64));
  std::vector<BlockQ4_0> blocks(kBlocks);
  std::vector<float> from_q4_0(weights.size());
  quantize_q4_0(weights, blocks);
  dequantize_q4_0(blocks, from_q4_0);
  EXPECT_TRUE(holds(GgufType::kQ4_0, from_q4_0, 64));
  from_q4_0.back() *= 1.1f;  // in the last row
  EXPECT_FALSE(holds(GgufType::kQ4_0, from_q4_0, 64));
}

}  // namespace
}  // namespace ringflash
