#include "format/quantize_q5_0.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ringflash {
namespace {

constexpr int64_t kHalf = BlockQ5_0::kWeights / 2;
constexpr int kBias = 16;

// How far from a multiple of the scale a weight may be that is one: more than rounding to fp32 leaves, while 32 weights that
// are none are never all so near.
constexpr float kSlack = 0.01f;

using Weights = std::span<const float>;

bool are_multiples(Weights weights, float scale) {
  return std::ranges::all_of(weights, [&](float w) {
    const float multiple = w / scale;
    return std::abs(multiple - std::nearbyint(multiple)) <= kSlack && multiple < kBias - 0.5f;
  });
}

/// The scale of weights of which `largest` has the largest magnitude: one that they are all multiples of, where there is
/// one. Of several it takes what fits fp16 best, which is what was stored.
float scale_of(Weights weights, float largest) {
  const float plain = largest / -kBias;
  float best = plain, least = are_multiples(weights, plain) ? std::abs(to_float(to_fp16(plain)) * -kBias - largest) : INFINITY;
  for (int steps = kBias - 1; steps > 0 && least > 0; --steps) {
    const float scale = std::abs(largest) / static_cast<float>(steps);
    const float error = std::abs(to_float(to_fp16(scale)) * static_cast<float>(steps) - std::abs(largest));
    if (error < least && are_multiples(weights, scale)) best = scale, least = error;
  }
  return best;
}

int nearest_value(float weight, float scale) {
  const float q = scale != 0 ? std::nearbyint(weight / scale) : 0.0f;
  return static_cast<int>(std::clamp(q, -16.0f, 15.0f)) + kBias;
}

BlockQ5_0 quantize_block(Weights weights) {
  float largest = 0;
  for (const float w : weights) {
    RF_CHECK(std::abs(w) <= kMaxQ5_0);
    if (std::abs(w) > std::abs(largest)) largest = w;
  }
  BlockQ5_0 block{to_fp16(largest != 0 ? scale_of(weights, largest) : 0.0f), {}, {}};
  const float d = to_float(block.scale);
  for (int64_t i = 0; i < BlockQ5_0::kWeights; ++i) {
    const int n = nearest_value(weights[static_cast<size_t>(i)], d);
    block.values[i % kHalf] |= static_cast<uint8_t>((n & 15) << (4 * (i / kHalf)));
    block.high[i / 8] |= static_cast<uint8_t>(n >> 4 << (i % 8));
  }
  return block;
}

}  // namespace

void quantize_q5_0(Weights weights, std::span<BlockQ5_0> blocks) {
  RF_CHECK(weights.size() == blocks.size() * BlockQ5_0::kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) {
    blocks[b] = quantize_block(weights.subspan(b * BlockQ5_0::kWeights, BlockQ5_0::kWeights));
  }
}

void dequantize_q5_0(std::span<const BlockQ5_0> blocks, std::span<float> weights) {
  RF_CHECK(weights.size() == blocks.size() * BlockQ5_0::kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const float d = to_float(blocks[b].scale);
    for (int64_t i = 0; i < BlockQ5_0::kWeights; ++i) {
      const int low = blocks[b].values[i % kHalf] >> (4 * (i / kHalf)) & 15, high = blocks[b].high[i / 8] >> (i % 8) & 1;
      weights[b * BlockQ5_0::kWeights + static_cast<size_t>(i)] = d * static_cast<float>((low | high << 4) - kBias);
    }
  }
}

}  // namespace ringflash
