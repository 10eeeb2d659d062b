#include "format/dequantize.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/rng.h"
#include "format/quantize_q4_0.h"
#include "format/quantize_q8_0.h"

namespace ringflash {
namespace {

std::vector<std::byte> as_tensor_bytes(const std::vector<uint8_t>& bytes) {
  std::vector<std::byte> raw(bytes.size());
  std::memcpy(raw.data(), bytes.data(), bytes.size());
  return raw;
}

GgufTensor tensor_of(GgufType type, int64_t elements, std::span<const std::byte> data) {
  return {.name = "t", .type = type, .shape = {elements}, .data = data};
}

void put_half(std::vector<uint8_t>& bytes, size_t at, float value) {
  const fp16 half = to_fp16(value);
  std::memcpy(bytes.data() + at, &half, sizeof half);
}

struct Golden {
  GgufType type;
  int64_t elements;
  size_t bytes;
  std::vector<size_t> halves;  ///< where the block has its fp16 numbers: 0.25, and -0.75 if there are two
  double first, middle;        ///< weights 0 and elements / 2 + 5
  double moment;               ///< sum of (i + 1) times weight i
};

// Byte k of each block is 73 k + 41 modulo 256 but for its fp16 numbers; the results are those of ggml's own gguf-py
// 0.19.0 (gguf.quants.dequantize).
TEST(Dequantize, AgreesWithGgmlOnEveryType) {
  const Golden all[] = {
      {GgufType::kQ4_0, 32, 18, {0}, 0.75, -1.5, -199.75},
      {GgufType::kQ4_1, 32, 20, {0, 2}, 2.5, 2.0, 470.5},
      {GgufType::kQ5_0, 32, 22, {0}, 3.75, -3.0, -296.25},
      {GgufType::kQ5_1, 32, 24, {0, 2}, 3.5, 2.5, 1616.0},
      {GgufType::kQ8_0, 32, 34, {0}, -17.25, -18.0, -172.0},
      {GgufType::kQ4_K, 256, 144, {0, 2}, 66.0, 50.25, 2478404.0},
      {GgufType::kQ5_K, 256, 176, {0, 2}, 118.0, 50.25, 4362188.0},
      {GgufType::kQ6_K, 256, 210, {208}, 40.25, 73.5, -407032.0},
      {GgufType::kQ2_K, 256, 84, {80, 82}, 3.75, 5.75, 251950.5},
      {GgufType::kQ3_K, 256, 110, {108}, -1.75, -4.0, 8686.5},
      {GgufType::kIQ4_NL, 32, 18, {0}, 9.5, -20.75, -3019.0},
      {GgufType::kIQ4_XS, 256, 136, {0}, -754.0, -378.25, 220762.75},
  };
  for (const Golden& golden : all) {
    SCOPED_TRACE(to_string(golden.type));
    std::vector<uint8_t> block(golden.bytes);
    for (size_t k = 0; k < block.size(); ++k) block[k] = static_cast<uint8_t>(73 * k + 41);
    for (size_t i = 0; i < golden.halves.size(); ++i) put_half(block, golden.halves[i], i == 0 ? 0.25f : -0.75f);
    const std::vector<std::byte> bytes = as_tensor_bytes(block);
    ASSERT_EQ(gguf_bytes(golden.type, static_cast<uint64_t>(golden.elements)).value(), bytes.size());
    const std::vector<float> weights = read_floats(tensor_of(golden.type, golden.elements, bytes)).value();
    ASSERT_EQ(std::ssize(weights), golden.elements);
    EXPECT_EQ(weights[0], golden.first);
    EXPECT_EQ(weights[static_cast<size_t>(golden.elements / 2 + 5)], golden.middle);
    double moment = 0;
    for (size_t i = 0; i < weights.size(); ++i) moment += static_cast<double>(i + 1) * static_cast<double>(weights[i]);
    EXPECT_EQ(moment, golden.moment);
  }
}

// One weight after another is the only one that is not zero.
TEST(Dequantize, EveryWeightOfQ4_1HasItsOwnBits) {
  for (int64_t i = 0; i < BlockQ4_1::kWeights; ++i) {
    BlockQ4_1 block{.scale = to_fp16(2), .minimum = to_fp16(0), .values = {}};
    block.values[i % 16] = static_cast<uint8_t>(i < 16 ? 5 : 5 << 4);
    std::vector<float> expected(BlockQ4_1::kWeights), weights(BlockQ4_1::kWeights);
    expected[static_cast<size_t>(i)] = 10;
    dequantize(block, std::span<float, BlockQ4_1::kWeights>(weights));
    EXPECT_EQ(weights, expected) << i;
  }
}

TEST(Dequantize, BlocksFollowEachOtherAtAnyAddress) {
  Rng rng(1);
  std::vector<float> values(96);
  for (float& value : values) value = static_cast<float>(rng.normal());
  std::vector<BlockQ8_0> blocks(3);
  quantize_q8_0(values, blocks);
  std::vector<std::byte> bytes(1 + sizeof(BlockQ8_0) * 3);
  std::memcpy(bytes.data() + 1, blocks.data(), bytes.size() - 1);
  std::vector<float> expected(96);
  dequantize_q8_0(blocks, expected);
  EXPECT_EQ(read_floats(tensor_of(GgufType::kQ8_0, 96, std::span(bytes).subspan(1))).value(), expected);
}

TEST(Dequantize, HalvesAreWidened) {
  const fp16 half = to_fp16(-1.5f);
  const bf16 brain = to_bf16(3.25f);
  EXPECT_EQ(read_floats(tensor_of(GgufType::kF16, 1, std::as_bytes(std::span(&half, 1)))).value(), std::vector{-1.5f});
  EXPECT_EQ(read_floats(tensor_of(GgufType::kBF16, 1, std::as_bytes(std::span(&brain, 1)))).value(),
            std::vector{3.25f});
}

TEST(Dequantize, IntegersAreRefused) {
  const std::byte byte{7};
  EXPECT_EQ(read_floats(tensor_of(GgufType::kI8, 1, {&byte, 1})).error().message,
            "tensor 't': expected floats, found type I8");
}

}  // namespace
}  // namespace ringflash
