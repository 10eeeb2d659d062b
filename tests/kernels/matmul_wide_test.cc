// Products of many tokens in bf16: activations and weights are rounded once, which the expected sums take from the
// formats' own decoders, so that only the order of fp32 additions is left to allow.
#include <gtest/gtest.h>

#include <cstring>

#include "expect_close.h"
#include "stored_weights.h"

namespace ringflash::kernels {
namespace {

using testing::kPoison;

std::vector<const Table*> wide_tables() {
  std::vector<const Table*> tables;
  for (const Table* table : available_tables()) {
    if (table->wide != nullptr) tables.push_back(table);
  }
  return tables;
}

struct Packed {
  Packed(const WideKernels& wide, const std::vector<float>& x, int64_t tokens, int64_t in) : view{nullptr, tokens, in} {
    values.assign(static_cast<size_t>(view.numbers()), bf16{0x7fc0});  // NaN
    wide.round(x.data(), tokens, in, 0, view.tiles(), values.data());
    view.values = values.data();
  }
  WideTokens view;
  std::vector<bf16> values;
};

Weights bf16_weights(int64_t rows, int64_t columns) {
  Weights w{"bf16", rows, columns, std::vector<std::byte>(rows * columns * 2), random_weights(rows * columns, 64, 7), {}, {}};
  for (size_t i = 0; i < w.decoded.size(); ++i) {
    const bf16 rounded = to_bf16(w.decoded[i]);
    w.decoded[i] = to_float(rounded);
    std::memcpy(&w.bytes[2 * i], &rounded, 2);
  }
  w.multiply_wide = [](const WideKernels& wide, const WideTokens& x, const std::byte* data, float* y, int64_t stride,
                       int64_t begin, int64_t end) {
    wide.matmul_bf16(x, reinterpret_cast<const bf16*>(data), y, stride, begin, end);
  };
  return w;
}

std::vector<Weights> weights_of(int64_t rows, int64_t columns) {
  std::vector<Weights> all = all_weights(rows, columns);
  all.push_back(bf16_weights(rows, columns));
  return all;
}

/// A chain of `in` exact products and additions, each off by 2^-24 of the sum of the magnitudes (Higham 2002, 3.1).
void expect_product(const Weights& w, const std::vector<float>& x, int64_t tokens, const std::vector<float>& y,
                    int64_t y_stride, int64_t begin, int64_t end) {
  const auto rounded = [&w](const std::vector<float>& values) {
    return [&w, &values](int64_t row, int64_t i) { return double{to_float(to_bf16(values[row * w.columns + i]))}; };
  };
  expect_sums(w, tokens, y.data(), y_stride, begin, end, static_cast<double>(w.columns + 2) * 0x1p-24, rounded(x),
              rounded(w.decoded));
}

TEST(MatmulWide, MatchesTheDoubleSumAndWritesNothingElse) {
  if (wide_tables().empty()) GTEST_SKIP() << "this processor has no tiles";
  for (const Table* table : wide_tables()) {
    for (const int64_t columns : {32, 64, 320, 576}) {
      for (const int64_t tokens : {1, 31, 32, 70}) {
        const std::vector<float> x = random_activations(tokens, columns, 9);
        const Packed packed(*table->wide, x, tokens, columns);
        for (const Weights& w : weights_of(75, columns)) {
          for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 75}, {32, 64}, {64, 75}, {32, 32}}) {
            SCOPED_TRACE(w.name + " in " + std::to_string(columns) + " tokens " + std::to_string(tokens));
            std::vector<float> y(tokens * 77, kPoison);
            w.multiply_wide(*table->wide, packed.view, w.bytes.data(), y.data(), 77, begin, end);
            expect_product(w, x, tokens, y, 77, begin, end);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// More rows and tokens than a block takes.
TEST(MatmulWide, CoversManyBlocks) {
  if (wide_tables().empty()) GTEST_SKIP() << "this processor has no tiles";
  constexpr int64_t kTokens = 545, kRows = 530, kColumns = 64;
  const std::vector<float> x = random_activations(kTokens, kColumns, 10);
  for (const Table* table : wide_tables()) {
    const Packed packed(*table->wide, x, kTokens, kColumns);
    const Weights w = bf16_weights(kRows, kColumns);
    std::vector<float> y(kTokens * kRows, kPoison);
    w.multiply_wide(*table->wide, packed.view, w.bytes.data(), y.data(), kRows, 0, kRows);
    expect_product(w, x, kTokens, y, kRows, 0, kRows);
  }
}

TEST(MatmulWide, ATokensBitsDependNeitherOnTheBatchNorOnTheRange) {
  if (wide_tables().empty()) GTEST_SKIP() << "this processor has no tiles";
  constexpr int64_t kTokens = 37, kRows = 75, kColumns = 320;
  const std::vector<float> x = random_activations(kTokens, kColumns, 11);
  for (const Table* table : wide_tables()) {
    const Packed batch(*table->wide, x, kTokens, kColumns);
    for (const Weights& w : weights_of(kRows, kColumns)) {
      std::vector<float> whole(kTokens * kRows), alone(kRows);
      w.multiply_wide(*table->wide, batch.view, w.bytes.data(), whole.data(), kRows, 0, kRows);
      for (const int64_t t : {0, 17, 36}) {
        const Packed one(*table->wide, {x.begin() + t * kColumns, x.begin() + (t + 1) * kColumns}, 1, kColumns);
        w.multiply_wide(*table->wide, one.view, w.bytes.data(), alone.data(), kRows, 0, 32);
        w.multiply_wide(*table->wide, one.view, w.bytes.data(), alone.data(), kRows, 32, kRows);
        ASSERT_EQ(std::memcmp(alone.data(), whole.data() + t * kRows, kRows * sizeof(float)), 0)
            << w.name << " token " << t;
      }
    }
  }
}

TEST(MatmulWide, AnyWeightsAreReadWithoutHarm) {
  if (wide_tables().empty()) GTEST_SKIP() << "this processor has no tiles";
  Rng rng(12);
  const std::vector<float> x = random_activations(5, 128, 13);
  for (const Table* table : wide_tables()) {
    const Packed packed(*table->wide, x, 5, 128);
    for (Weights& w : weights_of(33, 128)) {
      for (std::byte& b : w.bytes) b = static_cast<std::byte>(rng.next());
      std::vector<float> y(5 * 33);
      w.multiply_wide(*table->wide, packed.view, w.bytes.data(), y.data(), 33, 0, 33);
    }
  }
}

}  // namespace
}  // namespace ringflash::kernels
