#include "format/quantize_q4_0.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ringflash {
namespace {

constexpr int64_t kHalf = BlockQ4_0::kWeights / 2;

uint8_t nearest_value(float weight, float scale) {
  const float q = scale != 0 ? std::nearbyint(weight / scale) : 0.0f;
  return static_cast<uint8_t>(std::clamp(q, -8.0f, 7.0f) + 8.0f);
}

}  // namespace

void quantize_q4_0(std::span<const float> weights, std::span<BlockQ4_0> blocks) {
  RF_CHECK(weights.size() == blocks.size() * BlockQ4_0::kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const auto block = weights.subspan(b * BlockQ4_0::kWeights, BlockQ4_0::kWeights);
    float largest = 0;
    for (const float w : block) {
      RF_CHECK(std::abs(w) <= kMaxQ4_0);
      if (std::abs(w) > std::abs(largest)) largest = w;
    }
    blocks[b].scale = to_fp16(largest / -8.0f);
    const float d = to_float(blocks[b].scale);
    for (int64_t i = 0; i < kHalf; ++i) {
      const int low = nearest_value(block[i], d), high = nearest_value(block[i + kHalf], d);
      blocks[b].values[i] = static_cast<uint8_t>(low | high << 4);
    }
  }
}

void dequantize_q4_0(std::span<const BlockQ4_0> blocks, std::span<float> weights) {
  RF_CHECK(weights.size() == blocks.size() * BlockQ4_0::kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const float d = to_float(blocks[b].scale);
    float* block = weights.data() + b * BlockQ4_0::kWeights;
    for (int64_t i = 0; i < kHalf; ++i) {
      block[i] = d * static_cast<float>((blocks[b].values[i] & 15) - 8);
      block[i + kHalf] = d * static_cast<float>((blocks[b].values[i] >> 4) - 8);
    }
  }
}

}  // namespace ringflash
