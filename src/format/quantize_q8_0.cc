#include "format/quantize_q8_0.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace ringflash {
namespace {

/// max|w| / 127 as fp16, taken one up where that leaves max|w| beyond 127.5 of it (fp16's subnormals are that
/// coarse): so clamping to 127 costs at most d / 2 too.
fp16 choose_scale(float largest) {
  fp16 scale = to_fp16(largest / 127.0f);
  if (largest > 127.5f * to_float(scale)) ++scale.bits;
  return scale;
}

}  // namespace

void quantize_q8_0(std::span<const float> weights, std::span<BlockQ8_0> blocks) {
  RF_CHECK(weights.size() == blocks.size() * BlockQ8_0::kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const auto block = weights.subspan(b * BlockQ8_0::kWeights, BlockQ8_0::kWeights);
    float largest = 0;
    for (const float w : block) {
      RF_CHECK(std::abs(w) <= kMaxQ8_0);
      largest = std::max(largest, std::abs(w));
    }
    blocks[b].scale = choose_scale(largest);
    // ggml divides by the scale before its rounding to fp16, which costs up to 127 * 2^-11 = 6 % of a step
    // more.
    const float d = to_float(blocks[b].scale);
    for (int64_t i = 0; i < BlockQ8_0::kWeights; ++i) {
      const float q = d > 0 ? std::nearbyint(block[i] / d) : 0.0f;
      blocks[b].values[i] = static_cast<int8_t>(std::clamp(q, -127.0f, 127.0f));
    }
  }
}

void dequantize_q8_0(std::span<const BlockQ8_0> blocks, std::span<float> weights) {
  RF_CHECK(weights.size() == blocks.size() * BlockQ8_0::kWeights);
  for (size_t i = 0; i < weights.size(); ++i) {
    const BlockQ8_0& block = blocks[i / BlockQ8_0::kWeights];
    weights[i] = to_float(block.scale) * static_cast<float>(block.values[i % BlockQ8_0::kWeights]);
  }
}

}  // namespace ringflash
