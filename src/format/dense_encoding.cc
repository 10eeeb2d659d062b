#include "format/dense_encoding.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/float16.h"
#include "format/dequantize.h"
#include "format/quantize_q4_0.h"
#include "format/quantize_q4_1.h"
#include "format/quantize_q5_0.h"
#include "format/quantize_q8_0.h"

namespace ringflash {
namespace {

constexpr float kMaxBf16 = 0x1.fep127f;

// Of the largest weight: scale and minimum of a block are each off by 2^-11, and 15 scales and the minimum are together at
// most three times that weight.
constexpr float kHeldError = 0x1p-9f;

/// The largest magnitude that does not become infinite in the type.
float largest_weight(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return std::numeric_limits<float>::max();
    case GgufType::kBF16:
      return kMaxBf16;
    case GgufType::kQ8_0:
      return kMaxQ8_0;
    case GgufType::kQ4_0:
      return kMaxQ4_0;
    case GgufType::kQ4_1:
      return kMaxQ4_1;
    case GgufType::kQ5_0:
      return kMaxQ5_0;
    default:
      break;  // no tensor is stored so
  }
  RF_UNREACHABLE();
}

std::vector<std::byte> bytes_of(const auto& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

template <typename Block>
std::vector<std::byte> pack(std::span<const float> weights, void (*quantize)(std::span<const float>, std::span<Block>)) {
  std::vector<Block> blocks(weights.size() / Block::kWeights);
  quantize(weights, blocks);
  return bytes_of(blocks);
}

}  // namespace

Status check_weights(std::span<const float> weights, GgufType type) {
  const float limit = largest_weight(type);
  for (size_t i = 0; i < weights.size(); ++i) {
    if (std::abs(weights[i]) <= limit) continue;
    return Error{"element " + std::to_string(i) + " must be a number that " + to_string(type) +
                 " can hold (at most " + std::to_string(limit) + "), found " + std::to_string(weights[i])};
  }
  return {};
}

std::vector<std::byte> encode(std::span<const float> weights, GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return bytes_of(weights);
    case GgufType::kBF16: {
      std::vector<bf16> halves(weights.size());
      for (size_t i = 0; i < weights.size(); ++i) halves[i] = to_bf16(weights[i]);
      return bytes_of(halves);
    }
    case GgufType::kQ8_0:
      return pack<BlockQ8_0>(weights, quantize_q8_0);
    case GgufType::kQ4_0:
      return pack<BlockQ4_0>(weights, quantize_q4_0);
    case GgufType::kQ4_1:
      return pack<BlockQ4_1>(weights, quantize_q4_1);
    case GgufType::kQ5_0:
      return pack<BlockQ5_0>(weights, quantize_q5_0);
    default:
      break;  // no dense tensor is stored so
  }
  RF_UNREACHABLE();
}

bool holds(GgufType type, std::span<const float> weights, int64_t columns) {
  const auto width = static_cast<size_t>(columns);
  for (; !weights.empty(); weights = weights.subspan(width)) {
    const std::span<const float> row = weights.first(width);
    if (!check_weights(row, type)) return false;
    const std::vector<std::byte> bytes = encode(row, type);
    const std::vector<float> decoded = read_floats({"", type, {columns}, bytes}).value();
    float largest = 0, error = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      largest = std::max(largest, std::abs(row[i]));
      error = std::max(error, std::abs(row[i] - decoded[i]));
    }
    if (error > kHeldError * largest) return false;
  }
  return true;
}

}  // namespace ringflash
