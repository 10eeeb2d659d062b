#include "format/quantize_sparse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "format/block_s4.h"
#include "format/block_s8.h"

namespace ringflash {
namespace {

std::string name_of(const SparseFormat& format) {
  return "bits " + std::string(format.bits == SparseBits::k4 ? "4" : "8") + " N " +
         std::to_string(format.shape.nonzeros);
}

std::vector<SparseFormat> all_formats(int64_t rows, int64_t columns) {
  std::vector<SparseFormat> formats;
  for (const SparseBits bits : {SparseBits::k4, SparseBits::k8}) {
    for (const int nonzeros : {4, 8, 12, 16, 17, 32, 63, 64}) {
      formats.push_back({bits, {rows, columns, nonzeros}, s4_base_exponent(4.0f)});
    }
  }
  return formats;
}

/// At most N weights in each group, some fewer; magnitudes up to 4 times 2^exponent.
std::vector<float> random_weights(const SparseShape& shape, uint64_t seed, int exponent = 0) {
  Rng rng(seed);
  std::vector<float> weights(shape.rows * shape.columns);
  for (int64_t group = 0; group < shape.rows * shape.groups(); ++group) {
    const uint64_t count = rng.below(3) == 0 ? rng.below(shape.nonzeros + 1) : shape.nonzeros;
    for (uint64_t n = 0; n < count; ++n) {
      const double w = std::fmin(std::fmax(rng.normal(), -4.0), 4.0);
      weights[group * kSparseInputs + rng.below(kSparseInputs)] = static_cast<float>(std::ldexp(w, exponent));
    }
  }
  return weights;
}

RowBlocks all_rows(const SparseFormat& format) {
  return {0, format.shape.row_blocks()};
}

std::vector<std::byte> pack(const SparseFormat& format, const std::vector<float>& weights) {
  std::vector<std::byte> blocks(format.bytes(), std::byte{0x7e});  // what is not written shows
  quantize(format, weights.data(), all_rows(format), blocks.data()).value();
  return blocks;
}

std::vector<float> unpack(const SparseFormat& format, const std::vector<std::byte>& blocks) {
  std::vector<float> weights(format.shape.rows * format.shape.columns, std::nanf(""));
  dequantize(format, blocks.data(), all_rows(format), weights.data());
  return weights;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

TEST(QuantizeSparse, SizesAreTheDocumentedOnes) {
  const auto bits_per_weight = [](SparseBits bits, int nonzeros) {
    const SparseFormat format{bits, {160, 640, nonzeros}};
    return 8.0 * static_cast<double>(format.bytes()) / (160 * 640);
  };
  EXPECT_EQ(bits_per_weight(SparseBits::k4, 12), 2.0);
  EXPECT_EQ(bits_per_weight(SparseBits::k8, 12), 3.25);
  EXPECT_EQ(bits_per_weight(SparseBits::k4, 16), 2.625);
  EXPECT_EQ(bits_per_weight(SparseBits::k4, 32), 3.125);  // (64 + 4 * 32 + 8) / 64
  EXPECT_EQ(bits_per_weight(SparseBits::k4, 64), 4.125);  // no bitmap
  EXPECT_EQ(bits_per_weight(SparseBits::k8, 32), 5.25);
}

TEST(QuantizeSparse, WhatTheTrainerMultipliesWithIsWhatTheFileDecodesTo) {
  for (const int64_t rows : {1, 16, 35}) {
    for (const SparseFormat& format : all_formats(rows, 192)) {
      SCOPED_TRACE(name_of(format));
      const std::vector<float> weights = random_weights(format.shape, 3);
      std::vector<float> fake(weights.size(), std::nanf(""));
      for (int64_t block = 0; block < format.shape.row_blocks(); ++block) {  // as threads split it
        ASSERT_TRUE(fake_quantize(format, weights.data(), {block, block + 1}, fake.data()));
      }
      EXPECT_TRUE(same_bits(fake, unpack(format, pack(format, weights))));
    }
  }
}

TEST(QuantizeSparse, QuantisedWeightsStayAsTheyAre) {
  for (const SparseFormat& format : all_formats(32, 128)) {
    SCOPED_TRACE(name_of(format));
    const std::vector<float> once = unpack(format, pack(format, random_weights(format.shape, 4)));
    std::vector<float> twice = unpack(format, pack(format, once));
    for (size_t i = 0; i < once.size(); ++i) ASSERT_EQ(once[i], twice[i]) << i;
  }
}

TEST(QuantizeSparse, PrunedWeightsStayZero) {
  for (const SparseFormat& format : all_formats(16, 128)) {
    const std::vector<float> weights = random_weights(format.shape, 5);
    const std::vector<float> restored = unpack(format, pack(format, weights));
    for (size_t i = 0; i < weights.size(); ++i) {
      ASSERT_TRUE(weights[i] != 0 || restored[i] == 0) << name_of(format) << " at " << i;
    }
  }
}

/// The least sum of squared errors that a scale allows for the group, each weight taking its best value.
double least_error(const SparseFormat& format, const float* group) {
  const int most = format.bits == SparseBits::k4 ? 7 : 127, least = format.bits == SparseBits::k4 ? -8 : -127;
  float largest = 0;
  for (int i = 0; i < kSparseInputs; ++i) largest = std::max(largest, std::abs(group[i]));
  double best = std::numeric_limits<double>::infinity();
  // S8 tries six fp16 below that of 1/127, and one above.
  const int middle = to_fp16(largest / 127).bits;
  const int begin = format.bits == SparseBits::k4 ? 0 : std::max(0, middle - 6);
  const int end = format.bits == SparseBits::k4 ? 256 : middle + 2;
  for (int code = begin; code < end; ++code) {
    const double scale = format.bits == SparseBits::k4 ? decode_s4_scale(static_cast<uint8_t>(code), format.base)
                                                       : to_float(fp16{static_cast<uint16_t>(code)});
    // S4's steps so coarse that half of the values go unused are left out by definition.
    if (format.bits == SparseBits::k4 && scale > 0.3 * largest) break;
    double error = 0;
    for (int i = 0; i < kSparseInputs; ++i) {
      const double quotient = scale > 0 ? std::nearbyint(group[i] / scale) : 0;
      error += std::pow(group[i] - scale * std::fmin(std::fmax(quotient, least), most), 2);
    }
    best = std::min(best, error);
  }
  return best;
}

TEST(QuantizeSparse, NoOtherScaleIsBetter) {
  for (const SparseFormat& format : all_formats(16, 128)) {
    SCOPED_TRACE(name_of(format));
    const std::vector<float> weights = random_weights(format.shape, 6);
    const std::vector<float> restored = unpack(format, pack(format, weights));
    for (int64_t group = 0; group < format.shape.rows * format.shape.groups(); ++group) {
      double error = 0, size = 0;
      for (int64_t i = group * kSparseInputs; i < (group + 1) * kSparseInputs; ++i) {
        error += std::pow(double{weights[i]} - restored[i], 2);
        size = std::max(size, std::abs(double{weights[i]}));
      }
      // Errors are compared in fp32: each is off by up to 2^-23 of a weight, and so are ties.
      const double least = least_error(format, weights.data() + group * kSparseInputs);
      ASSERT_LE(std::sqrt(error), std::sqrt(least) + 0x1p-20 * size) << "group " << group;
    }
  }
}

TEST(QuantizeSparse, EveryMagnitudeKeepsItsAccuracy) {
  for (const int exponent : {-140, -120, -60, 0, 60, 97}) {
    SparseFormat format{SparseBits::k4, {16, 64, 12}, s4_base_exponent(std::ldexp(4.0f, exponent))};
    const std::vector<float> weights = random_weights(format.shape, 7, exponent);
    const std::vector<float> restored = unpack(format, pack(format, weights));
    double error = 0, size = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      error += std::pow(std::ldexp(double{weights[i]} - restored[i], -exponent), 2);
      size += std::pow(std::ldexp(double{weights[i]}, -exponent), 2);
      ASSERT_TRUE(std::isfinite(restored[i]));
    }
    // Half a step is 1/14 of a group's largest, and the root mean square of a uniform error 1/sqrt(3) of that.
    EXPECT_TRUE(exponent <= -120 || std::sqrt(error / size) < 0.1) << "exponent " << exponent;
  }
}

TEST(QuantizeSparse, KnownSuperblockS4) {
  SparseFormat format{SparseBits::k4, {16, 64, 12}, s4_base_exponent(8.0f)};  // base 3 - 17
  std::vector<float> weights(16 * 64);
  weights[5 * 64 + 9] = -8.0f;  // row 5: scale 1
  weights[5 * 64 + 40] = 7.0f;
  weights[5 * 64 + 63] = 1.0f;
  const std::vector<std::byte> bytes = pack(format, weights);
  BlockS4<12> block;
  std::memcpy(&block, bytes.data(), sizeof block);
  EXPECT_EQ(block.scales[5], 14 << 4);
  EXPECT_EQ(block.entries[0][5][0], 9 | 2 << 6);    // -8 = 1000b
  EXPECT_EQ(block.entries[0][5][1], 40 | 1 << 6);   // 7 = 0111b
  EXPECT_EQ(block.entries[0][5][2], 63 | 0 << 6);   // 1 = 0001b
  EXPECT_EQ(block.entries[0][5][3], 0);
  // Bytes 20 to 22 of the step: bits 2-3 of low bytes 4 to 6.
  EXPECT_EQ(block.low_bits[0][4], 0 << 2);
  EXPECT_EQ(block.low_bits[0][5], 3 << 2);
  EXPECT_EQ(block.low_bits[0][6], 1 << 2);
  EXPECT_EQ(unpack(format, bytes), weights);
}

TEST(QuantizeSparse, KnownBitmapBlock) {
  SparseFormat format{SparseBits::k4, {16, 64, 32}, s4_base_exponent(8.0f)};
  std::vector<float> weights(16 * 64);
  weights[5 * 64 + 9] = -8.0f;  // row 5: scale 1
  weights[5 * 64 + 40] = 7.0f;
  weights[5 * 64 + 63] = 1.0f;
  const std::vector<std::byte> bytes = pack(format, weights);
  ASSERT_EQ(bytes.size(), 400u);
  // q + 8 of rows 4 and 5 in the halves of a byte; row 4 has none.
  EXPECT_EQ(static_cast<int>(bytes[2 * 32]), 0x08);
  EXPECT_EQ(static_cast<int>(bytes[2 * 32 + 1]), 0xf8);
  EXPECT_EQ(static_cast<int>(bytes[2 * 32 + 2]), 0x98);
  uint64_t bitmap;
  std::memcpy(&bitmap, bytes.data() + 256 + 5 * 8, sizeof bitmap);
  EXPECT_EQ(bitmap, uint64_t{1} << 9 | uint64_t{1} << 40 | uint64_t{1} << 63);
  EXPECT_EQ(static_cast<int>(bytes[256 + 128 + 5]), 14 << 4);
  EXPECT_EQ(unpack(format, bytes), weights);
}

TEST(QuantizeSparse, ScalesAreThoseOfTheFile) {
  for (const SparseFormat& format : all_formats(19, 128)) {
    SCOPED_TRACE(name_of(format));
    const std::vector<float> weights = random_weights(format.shape, 9);
    const std::vector<float> decoded = unpack(format, pack(format, weights));
    std::vector<float> scales(19 * 2);
    ASSERT_TRUE(choose_scales(format, weights.data(), all_rows(format), scales.data()));
    for (size_t i = 0; i < decoded.size(); ++i) {
      const float scale = scales[i / 64];
      ASSERT_EQ(decoded[i], scale == 0 ? 0 : scale * std::nearbyint(decoded[i] / scale));
    }
  }
}

TEST(QuantizeSparse, RefusesTooManyWeights) {
  for (const SparseFormat& format : all_formats(40, 192)) {
    if (format.shape.nonzeros == kSparseInputs) continue;  // there are no more
    std::vector<float> weights(format.shape.rows * format.shape.columns), out(weights.size());
    for (int n = 0; n <= format.shape.nonzeros; ++n) weights[37 * 192 + 128 + n] = 0.5f;
    const Status status = fake_quantize(format, weights.data(), all_rows(format), out.data());
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().message, "row 37, group 2: expected at most " +
                                          std::to_string(format.shape.nonzeros) +
                                          " weights that are not zero, found " +
                                          std::to_string(format.shape.nonzeros + 1));
  }
}

TEST(QuantizeSparse, RefusesWhatDoesNotFit) {
  for (const SparseFormat& format : all_formats(16, 64)) {
    const float limit = largest_sparse_weight(format.bits);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::nextafter(limit, std::numeric_limits<float>::infinity())}) {
      std::vector<float> weights(16 * 64), out(weights.size());
      weights[70] = bad;
      const Status status = fake_quantize(format, weights.data(), all_rows(format), out.data());
      ASSERT_FALSE(status);
      EXPECT_NE(status.error().message.find("row 1, group 0: input 6 must be"), std::string::npos)
          << status.error().message;
    }
  }
}

TEST(QuantizeSparse, AnyBytesAreReadWithoutHarm) {
  Rng rng(8);
  for (int repeat = 0; repeat < 50; ++repeat) {
    for (SparseFormat format : all_formats(19, 128)) {
      format.base = repeat % 2 == 0 ? kMinS4Base : kMaxS4Base;
      std::vector<std::byte> blocks(format.bytes());
      for (std::byte& b : blocks) b = static_cast<std::byte>(rng.next());
      const std::vector<float> weights = unpack(format, blocks);
      if (format.bits == SparseBits::k4) {
        for (const float w : weights) ASSERT_TRUE(std::isfinite(w));
      }
    }
  }
}

}  // namespace
}  // namespace ringflash
