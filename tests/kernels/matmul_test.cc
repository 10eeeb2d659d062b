#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "base/rng.h"
#include "expect_close.h"
#include "kernels/kernels.h"

namespace ringflash::kernels {
namespace {

using testing::is_close;
using testing::kPoison;

enum class Format { kF32, kBf16, kQ8_0 };

/// Values between poisoned ones, starting `offset` elements into the allocation: reading beyond either end
/// shows.
template <typename T>
struct Guarded {
  Guarded(int64_t count, int64_t offset, T poison) : begin(offset), all(offset + count + 40, poison) {}
  T* data() { return all.data() + begin; }
  int64_t begin;
  std::vector<T> all;
};

/// One random product x . w^T with its exact result.
struct Case {
  Case(Format f, int64_t tokens_, int64_t in_, int64_t out_, int64_t offset = 2)
      : format(f),
        tokens(tokens_),
        in(in_),
        out(out_),
        x(tokens * in, offset, kPoison),
        dequantised(out * in, offset, kPoison),
        bf16s(out * in, offset, bf16{0x7fff}),
        blocks(out * in / BlockQ8_0::kWeights, offset, BlockQ8_0{fp16{0x7fff}, {}}) {
    Rng rng(static_cast<uint64_t>(tokens * 1000003 + in * 101 + out));
    for (int64_t i = 0; i < tokens * in; ++i) x.data()[i] = static_cast<float>(rng.normal());
    for (int64_t i = 0; i < out * in; ++i) dequantised.data()[i] = set_weight(i, rng);
  }

  float set_weight(int64_t i, Rng& rng) {
    switch (format) {
      case Format::kF32:
        return static_cast<float>(rng.normal());
      case Format::kBf16:
        return to_float(bf16s.data()[i] = to_bf16(static_cast<float>(rng.normal())));
      case Format::kQ8_0: {
        BlockQ8_0& block = blocks.data()[i / BlockQ8_0::kWeights];
        if (i % BlockQ8_0::kWeights == 0) {
          block.scale = to_fp16(static_cast<float>(0.001 + 0.01 * rng.uniform()));
        }
        auto& value = block.values[i % BlockQ8_0::kWeights];
        value = static_cast<int8_t>(static_cast<int64_t>(rng.below(255)) - 127);
        return to_float(block.scale) * static_cast<float>(value);
      }
    }
    RF_UNREACHABLE();
  }

  /// Rows [first, first + count) of x times rows [out_begin, out_end) of w.
  void run(const Table& table, int64_t first, int64_t count, float* y, int64_t y_stride, int64_t out_begin,
           int64_t out_end) {
    const float* rows = x.data() + first * in;
    switch (format) {
      case Format::kF32:
        return table.matmul_f32(rows, dequantised.data(), y, count, in, y_stride, out_begin, out_end);
      case Format::kBf16:
        return table.matmul_bf16(rows, bf16s.data(), y, count, in, y_stride, out_begin, out_end);
      case Format::kQ8_0:
        return table.matmul_q8_0(rows, blocks.data(), y, count, in, y_stride, out_begin, out_end);
    }
    RF_UNREACHABLE();
  }

  std::vector<float> run_all(const Table& table) {
    std::vector<float> y(tokens * out, kPoison);
    run(table, 0, tokens, y.data(), out, 0, out);
    return y;
  }

  Format format;
  int64_t tokens, in, out;
  Guarded<float> x, dequantised;
  Guarded<bf16> bf16s;
  Guarded<BlockQ8_0> blocks;
};

/// |error| <= u * (length of the longest chain of roundings) * sum |x w|, u = 2^-24: at least four lanes
/// share the inputs, then come two additions of lanes, one per 1024 inputs, and the last rounding (Higham
/// 2002, section 3.1). A table that multiplies bf16 rounds x by 2^-8, and sums in one chain.
void expect_product(Case& c, const Table& table, const float* y, int64_t y_stride, int64_t out_begin,
                    int64_t out_end) {
  const bool rounds = c.format == Format::kBf16 && table.key_type == KeyType::kBf16;
  const auto in = static_cast<double>(c.in);
  const double chain = rounds ? in + 0x1p24 * 0x1p-8 : in / 4 + in / 1024 + 8;
  for (int64_t t = 0; t < c.tokens; ++t) {
    for (int64_t o = 0; o < y_stride; ++o) {
      const float got = y[t * y_stride + o];
      if (o < out_begin || o >= out_end) {
        ASSERT_TRUE(std::isnan(got)) << "wrote outside the range, at token " << t << " output " << o;
        continue;
      }
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < c.in; ++i) {
        const double product = double{c.x.data()[t * c.in + i]} * double{c.dequantised.data()[o * c.in + i]};
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_TRUE(
          is_close(std::span(&got, 1), std::span<const double>(&sum, 1), {chain * 0x1p-24 * magnitude}))
          << "token " << t << " output " << o;
    }
  }
}

class Matmul : public ::testing::TestWithParam<Format> {
 protected:
  std::vector<int64_t> inputs() const {
    if (GetParam() == Format::kQ8_0) return {32, 64, 96, 256, 1056};
    return {1, 2, 3, 7, 31, 32, 33, 64, 100, 257, 1030, 1088};
  }
};

TEST_P(Matmul, MatchesTheDoubleSumAndWritesNothingElse) {
  for (const Table* table : available_tables()) {
    for (const int64_t in : inputs()) {
      for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 64}) {
        const int64_t out = tokens == 64 ? 9 : tokens == 16 ? 75 : 21;
        for (const auto& [begin, end] :
             {std::pair<int64_t, int64_t>{0, out}, {3, 8}, {5, 6}, {4, 4}, {out / 32 * 32, out}}) {
          SCOPED_TRACE(std::string(table->isa) + " in " + std::to_string(in) + " tokens " +
                       std::to_string(tokens));
          Case c(GetParam(), tokens, in, out, 1 + tokens % 3);
          const int64_t y_stride = out + 2;
          std::vector<float> y(tokens * y_stride, kPoison);
          c.run(*table, 0, tokens, y.data(), y_stride, begin, end);
          expect_product(c, *table, y.data(), y_stride, begin, end);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(Matmul, ATokensBitsDependNeitherOnTheBatchNorOnTheRange) {
  for (const Table* table : available_tables()) {
    for (const int64_t in : inputs()) {
      Case c(GetParam(), 81, in, 77);
      const std::vector<float> all = c.run_all(*table);
      std::vector<float> pieces(c.tokens * c.out, kPoison);
      int64_t first = 0;
      for (const int64_t count : {1, 3, 6, 2, 5, 64}) {
        for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 32}, {32, 64}, {64, 77}}) {
          c.run(*table, first, count, pieces.data() + first * c.out, c.out, begin, end);
        }
        first += count;
      }
      EXPECT_EQ(0, std::memcmp(all.data(), pieces.data(), all.size() * sizeof(float)))
          << table->isa << " in " << in;
    }
  }
}

TEST_P(Matmul, GivesTheBitsOfFp32Weights) {
  for (const Table* table : available_tables()) {
    if (table->key_type == KeyType::kBf16) continue;  // rounds x for bf16 weights
    for (const int64_t in : inputs()) {
      Case c(GetParam(), 7, in, 9);
      const std::vector<float> stored = c.run_all(*table);
      c.format = Format::kF32;
      EXPECT_EQ(0, std::memcmp(stored.data(), c.run_all(*table).data(), stored.size() * sizeof(float)))
          << table->isa << " in " << in;
    }
  }
}

TEST_P(Matmul, ManyOutputsAreCutIntoBlocks) {
  // 700 rows of 1056 inputs exceed what the kernels keep in the cache at once, in each format.
  for (const Table* table : available_tables()) {
    Case c(GetParam(), 7, 1056, 700);
    const std::vector<float> y = c.run_all(*table);
    expect_product(c, *table, y.data(), c.out, 0, c.out);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Matmul, ::testing::Values(Format::kF32, Format::kBf16, Format::kQ8_0),
                         [](const auto& test) -> std::string {
                           switch (test.param) {
                             case Format::kF32:
                               return "F32";
                             case Format::kBf16:
                               return "BF16";
                             case Format::kQ8_0:
                               return "Q8_0";
                           }
                           RF_UNREACHABLE();
                         });

TEST(MatmulQ8_0, ReadsEveryFiniteScale) {
  std::vector<BlockQ8_0> rows;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7c00u) != 0x7c00u) rows.push_back({fp16{static_cast<uint16_t>(bits)}, {1}});
  }
  const std::vector<float> x(BlockQ8_0::kWeights, 1.0f);
  const auto out = static_cast<int64_t>(rows.size());
  for (const Table* table : available_tables()) {
    std::vector<float> y(rows.size(), kPoison);
    table->matmul_q8_0(x.data(), rows.data(), y.data(), 1, BlockQ8_0::kWeights, out, 0, out);
    for (int64_t o = 0; o < out; ++o) {
      ASSERT_EQ(y[o], to_float(rows[o].scale)) << table->isa << " scale bits " << rows[o].scale.bits;
    }
  }
}

}  // namespace
}  // namespace ringflash::kernels
