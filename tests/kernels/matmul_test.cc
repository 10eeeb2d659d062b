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

enum class Format { kF32, kBf16 };

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
        bf16s(out * in, offset, bf16{0x7fff}) {
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

INSTANTIATE_TEST_SUITE_P(Formats, Matmul, ::testing::Values(Format::kF32, Format::kBf16),
                         [](const auto& test) -> std::string {
                           switch (test.param) {
                             case Format::kF32:
                               return "F32";
                             case Format::kBf16:
                               return "BF16";
                           }
                           RF_UNREACHABLE();
                         });

}  // namespace
}  // namespace ringflash::kernels
