#include "format/dequantize.h"

#include <cstring>

#include "base/in_quotes.h"
#include "format/quantize_q4_0.h"
#include "format/quantize_q4_1.h"
#include "format/quantize_q5_0.h"
#include "format/quantize_q8_0.h"

namespace ringflash {
namespace {

/// Half of a byte: the low one for 0, the high one for 1.
int half_of(uint8_t byte, int64_t half) { return byte >> (4 * half) & 15; }

int five_bits(const BlockQ5_1& block, int64_t i) {
  const int high = block.high[i / 8] >> (i % 8) & 1;
  return half_of(block.values[i % 16], i / 16) | high << 4;
}

/// The two bits that Q2_K and Q3_K have of weight i in one place.
template <typename Block>
int two_bits(const Block& block, int64_t i) {
  return block.values[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32)) & 3;
}

struct ScaleAndMinimum {
  int scale, minimum;
};

ScaleAndMinimum unpack(const PackedScales& packed, int64_t group) {
  const uint8_t* b = packed.bytes;
  if (group < 4) return {b[group] & 63, b[group + 4] & 63};
  return {half_of(b[group + 4], 0) | b[group - 4] >> 6 << 4, half_of(b[group + 4], 1) | b[group] >> 6 << 4};
}

/// Q4_K and Q5_K; fifth_bit(group, k) is that of weight k of a group, at its place.
template <typename Block, typename FifthBit>
void dequantize_groups(const Block& block, float* weights, FifthBit fifth_bit) {
  constexpr int64_t kGroup = 32;
  for (int64_t group = 0; group < Block::kWeights / kGroup; ++group) {
    const auto [s, m] = unpack(block.scales, group);
    const float scale = to_float(block.scale) * static_cast<float>(s);
    const float minimum = to_float(block.minimum) * static_cast<float>(m);
    for (int64_t k = 0; k < kGroup; ++k) {
      const int n = half_of(block.values[kGroup * (group / 2) + k], group % 2) | fifth_bit(group, k);
      weights[kGroup * group + k] = scale * static_cast<float>(n) - minimum;
    }
  }
}

/// The file's blocks may lie at any address.
template <typename Block>
void dequantize_blocks(const GgufTensor& tensor, std::vector<float>& floats) {
  for (size_t b = 0; b < tensor.data.size() / sizeof(Block); ++b) {
    Block block;
    std::memcpy(&block, tensor.data.data() + b * sizeof(Block), sizeof block);
    dequantize(block, std::span(floats).subspan(b * Block::kWeights).template first<Block::kWeights>());
  }
}

template <typename Half>
void widen(const GgufTensor& tensor, std::vector<float>& floats) {
  for (size_t i = 0; i < floats.size(); ++i) {
    Half half;
    std::memcpy(&half, tensor.data.data() + i * sizeof half, sizeof half);
    floats[i] = to_float(half);
  }
}

}  // namespace

void dequantize(const BlockQ4_0& block, std::span<float, BlockQ4_0::kWeights> weights) {
  dequantize_q4_0({&block, 1}, weights);
}

void dequantize(const BlockQ8_0& block, std::span<float, BlockQ8_0::kWeights> weights) {
  dequantize_q8_0({&block, 1}, weights);
}

void dequantize(const BlockQ4_1& block, std::span<float, BlockQ4_1::kWeights> weights) {
  dequantize_q4_1({&block, 1}, weights);
}

void dequantize(const BlockQ5_0& block, std::span<float, BlockQ5_0::kWeights> weights) {
  dequantize_q5_0({&block, 1}, weights);
}

void dequantize(const BlockQ5_1& block, std::span<float, BlockQ5_1::kWeights> weights) {
  for (int64_t i = 0; i < BlockQ5_1::kWeights; ++i) {
    weights[i] = to_float(block.scale) * static_cast<float>(five_bits(block, i)) + to_float(block.minimum);
  }
}

void dequantize(const BlockQ4_K& block, std::span<float, BlockQ4_K::kWeights> weights) {
  dequantize_groups(block, weights.data(), [](int64_t, int64_t) { return 0; });
}

void dequantize(const BlockQ5_K& block, std::span<float, BlockQ5_K::kWeights> weights) {
  dequantize_groups(block, weights.data(),
                    [&](int64_t group, int64_t k) { return (block.high[k] >> group & 1) << 4; });
}

void dequantize(const BlockQ6_K& block, std::span<float, BlockQ6_K::kWeights> weights) {
  for (int64_t i = 0; i < BlockQ6_K::kWeights; ++i) {
    const int64_t h = i / 128, r = i % 128;
    const int low = half_of(block.low[64 * h + r % 64], r / 64);
    const int high = block.high[32 * h + r % 32] >> (2 * (r / 32)) & 3;
    const float scale = to_float(block.scale) * static_cast<float>(block.scales[i / 16]);
    weights[i] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

void dequantize(const BlockQ2_K& block, std::span<float, BlockQ2_K::kWeights> weights) {
  for (int64_t i = 0; i < BlockQ2_K::kWeights; ++i) {
    const uint8_t packed = block.scales[i / 16];
    const float scale = to_float(block.scale) * static_cast<float>(half_of(packed, 0));
    const float minimum = to_float(block.minimum) * static_cast<float>(half_of(packed, 1));
    weights[i] = scale * static_cast<float>(two_bits(block, i)) - minimum;
  }
}

void dequantize(const BlockQ3_K& block, std::span<float, BlockQ3_K::kWeights> weights) {
  for (int64_t i = 0; i < BlockQ3_K::kWeights; ++i) {
    const int64_t j = i / 16;
    const int s = half_of(block.scales[j % 8], j / 8) | (block.scales[8 + j % 4] >> (2 * (j / 4)) & 3) << 4;
    const int n = two_bits(block, i) | (block.high[i % 32] >> (i / 32) & 1) << 2;
    weights[i] = to_float(block.scale) * static_cast<float>(s - 32) * static_cast<float>(n - 4);
  }
}

void dequantize(const BlockIQ4_NL& block, std::span<float, BlockIQ4_NL::kWeights> weights) {
  for (int64_t i = 0; i < BlockIQ4_NL::kWeights; ++i) {
    weights[i] = to_float(block.scale) * static_cast<float>(kIq4Values[half_of(block.values[i % 16], i / 16)]);
  }
}

void dequantize(const BlockIQ4_XS& block, std::span<float, BlockIQ4_XS::kWeights> weights) {
  for (int64_t i = 0; i < BlockIQ4_XS::kWeights; ++i) {
    const int64_t j = i / 32, r = i % 32;
    const int s = half_of(block.low_scales[j / 2], j % 2) | (block.high_scales >> (2 * j) & 3) << 4;
    const int value = kIq4Values[half_of(block.values[16 * j + r % 16], r / 16)];
    weights[i] = to_float(block.scale) * static_cast<float>(s - 32) * static_cast<float>(value);
  }
}

Result<std::vector<float>> read_floats(const GgufTensor& tensor) {
  size_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= static_cast<size_t>(size);
  std::vector<float> floats(elements);
  switch (tensor.type) {
    case GgufType::kF32: std::memcpy(floats.data(), tensor.data.data(), tensor.data.size()); return floats;
    case GgufType::kF16: return widen<fp16>(tensor, floats), floats;
    case GgufType::kBF16: return widen<bf16>(tensor, floats), floats;
    case GgufType::kQ4_0: return dequantize_blocks<BlockQ4_0>(tensor, floats), floats;
    case GgufType::kQ4_1: return dequantize_blocks<BlockQ4_1>(tensor, floats), floats;
    case GgufType::kQ5_0: return dequantize_blocks<BlockQ5_0>(tensor, floats), floats;
    case GgufType::kQ5_1: return dequantize_blocks<BlockQ5_1>(tensor, floats), floats;
    case GgufType::kQ8_0: return dequantize_blocks<BlockQ8_0>(tensor, floats), floats;
    case GgufType::kQ4_K: return dequantize_blocks<BlockQ4_K>(tensor, floats), floats;
    case GgufType::kQ5_K: return dequantize_blocks<BlockQ5_K>(tensor, floats), floats;
    case GgufType::kQ6_K: return dequantize_blocks<BlockQ6_K>(tensor, floats), floats;
    case GgufType::kQ2_K: return dequantize_blocks<BlockQ2_K>(tensor, floats), floats;
    case GgufType::kQ3_K: return dequantize_blocks<BlockQ3_K>(tensor, floats), floats;
    case GgufType::kIQ4_NL: return dequantize_blocks<BlockIQ4_NL>(tensor, floats), floats;
    case GgufType::kIQ4_XS: return dequantize_blocks<BlockIQ4_XS>(tensor, floats), floats;
    case GgufType::kI8: return Error{"tensor " + in_quotes(tensor.name) + ": expected floats, found type I8"};
  }
  RF_UNREACHABLE();
}

}  // namespace ringflash
