// Products with quantised weights. Sums of products within a block are exact, so what remains to allow is the float
// arithmetic around them; the activations' own rounding is checked by itself.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "expect_close.h"
#include "kernels/kernels.h"
#include "page_end.h"
#include "stored_weights.h"

namespace ringflash::kernels {
namespace {

using testing::kPoison;

/// Rounded activations with their storage.
struct Rounded {
  Rounded(const Table& table, const std::vector<float>& x, int64_t tokens, int64_t in)
      : view{nullptr, nullptr, tokens, in},
        values(view.groups() * tokens * kInt8Group, 0),
        scales(view.groups() * tokens, kPoison) {
    table.round_to_int8(x.data(), tokens, in, 0, tokens, values.data(), scales.data());
    view.values = values.data();
    view.scales = scales.data();
  }
  double at(int64_t t, int64_t i) const {
    const int64_t place = view.place(i / kInt8Group, t);
    return double{scales[place]} * (values[place * kInt8Group + i % kInt8Group] - 128);
  }
  Int8Tokens view;
  std::vector<uint8_t> values;
  std::vector<float> scales;
};

/// Of the sum of all |x w|: a block's sum is exact but for its conversion, the product of two scales and the one with
/// the sum are roundings, each of u = 2^-24; a chain of one addition per block follows (two with a minimum), and up to 4
/// of lanes (Higham 2002, section 3.1).
void expect_product(const Weights& w, const Rounded& x, const float* y, int64_t y_stride, int64_t begin, int64_t end) {
  const double additions = static_cast<double>(w.columns) / 32 * (w.terms.empty() ? 1 : 2);
  const double chain = additions + 3 + 4;
  expect_sums(
      w, x.view.tokens, y, y_stride, begin, end, chain * 0x1p-24, [&](int64_t t, int64_t i) { return x.at(t, i); },
      [&](int64_t o, int64_t i) { return double{w.decoded[o * w.columns + i]}; });
}

TEST(MatmulInt8, MatchesTheDoubleSumAndWritesNothingElse) {
  for (const Table* table : available_tables()) {
    for (const int64_t columns : {32, 64, 96, 320}) {
      for (const int64_t tokens : {1, 2, 3, 4, 5, 7, 8, 9, 16, 37}) {
        const std::vector<float> activations = random_activations(tokens, columns, 9);
        const Rounded x(*table, activations, tokens, columns);
        for (const Weights& w : all_weights(43, columns)) {
          for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 43}, {16, 32}, {32, 43}, {16, 16}}) {
            SCOPED_TRACE(std::string(table->isa) + " " + w.name + " in " + std::to_string(columns) + " tokens " +
                         std::to_string(tokens));
            std::vector<float> y(tokens * 45, kPoison);
            w.multiply(*table, x.view, w.bytes.data(), y.data(), 45, begin, end);
            expect_product(w, x, y.data(), 45, begin, end);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

std::vector<std::pair<const Table*, int64_t>> every_table_with(std::initializer_list<int64_t> sizes) {
  std::vector<std::pair<const Table*, int64_t>> pairs;
  for (const Table* table : available_tables()) {
    for (const int64_t each : sizes) pairs.emplace_back(table, each);
  }
  return pairs;
}

/// Products of the tokens [first, first + count) of `activations`, their rows in two ranges.
std::vector<float> products(const Table& table, const Weights& w, const std::vector<float>& activations, int64_t first,
                            int64_t count) {
  const std::vector<float> some(activations.begin() + first * w.columns, activations.begin() + (first + count) * w.columns);
  const Rounded x(table, some, count, w.columns);
  std::vector<float> y(count * w.rows, kPoison);
  w.multiply(table, x.view, w.bytes.data(), y.data(), w.rows, 0, 16);
  w.multiply(table, x.view, w.bytes.data(), y.data(), w.rows, 16, w.rows);
  return y;
}

TEST(MatmulInt8, ATokensBitsDependNeitherOnTheBatchNorOnTheRange) {
  constexpr int64_t kTokens = 45, kRows = 40;  // more than those that meet each group as it is packed
  for (const auto& [table, columns] : every_table_with({96, 192})) {
    const int64_t least = table->least_panel_tokens;
    const std::vector<float> activations = random_activations(kTokens, columns, 10);
    const Rounded batch(*table, activations, kTokens, columns);
    for (const Weights& w : all_weights(kRows, columns)) {
      std::vector<float> whole(kTokens * kRows);
      w.multiply(*table, batch.view, w.bytes.data(), whole.data(), kRows, 0, kRows);
      for (const int64_t count : {least > 0 ? least : 1, least > 0 ? least + 5 : 4}) {
        for (int64_t t = 0; t + count <= kTokens; ++t) {
          const std::vector<float> alone = products(*table, w, activations, t, count);
          ASSERT_EQ(std::memcmp(alone.data(), whole.data() + t * kRows, alone.size() * sizeof(float)), 0)
              << table->isa << " " << w.name << " tokens from " << t << " in batches of " << count;
        }
      }
    }
  }
}

TEST(MatmulInt8, NeitherDoTheyInFewTokens) {
  constexpr int64_t kTokens = 7, kRows = 40;
  for (const auto& [table, columns] : every_table_with({96, 192})) {
    const std::vector<float> activations = random_activations(kTokens, columns, 15);
    for (const Weights& w : all_weights(kRows, columns)) {
      const std::vector<float> whole = products(*table, w, activations, 0, kTokens);
      for (int64_t t = 0; t < kTokens; ++t) {
        const std::vector<float> alone = products(*table, w, activations, t, 1);
        ASSERT_EQ(std::memcmp(alone.data(), whole.data() + t * kRows, kRows * sizeof(float)), 0)
            << table->isa << " " << w.name << " token " << t;
      }
    }
  }
}

TEST(MatmulInt8, AnyWeightsAreReadWithoutHarm) {
  Rng rng(11);
  for (const auto& [table, tokens] : every_table_with({5, 21})) {
    const Rounded x(*table, random_activations(tokens, 128, 12), tokens, 128);
    for (Weights& w : all_weights(32, 128)) {
      for (std::byte& b : w.bytes) b = static_cast<std::byte>(rng.next());
      std::vector<float> y(tokens * 32);
      w.multiply(*table, x.view, w.bytes.data(), y.data(), 32, 0, 32);
    }
  }
}

TEST(MatmulInt8, NothingIsReadPastTheWeights) {
  for (const auto& [table, columns] : every_table_with({32, 64, 96, 128, 160, 320})) {
    for (const int64_t tokens : {1, 3, 7, 8, 37}) {
      const Rounded x(*table, random_activations(tokens, columns, 16), tokens, columns);
      for (const int64_t rows : {1, 3, 16, 21}) {
        for (const Weights& w : all_weights(rows, columns)) {
          const testing::PageEnd bytes(w.bytes);
          std::vector<float> y(tokens * rows, kPoison);
          w.multiply(*table, x.view, bytes.data(), y.data(), rows, 0, rows);
          expect_product(w, x, y.data(), rows, 0, rows);
        }
      }
    }
  }
}

TEST(MatmulInt8, WeightsMayLieAtOddAddresses) {
  for (const auto& [table, tokens] : every_table_with({3, 19})) {
    const Rounded x(*table, random_activations(tokens, 128, 13), tokens, 128);
    for (Weights& w : all_weights(16, 128)) {
      std::vector<std::byte> shifted(w.bytes.size() + 2);
      std::memcpy(shifted.data() + 2, w.bytes.data(), w.bytes.size());
      std::vector<float> y(tokens * 16, kPoison);
      w.multiply(*table, x.view, shifted.data() + 2, y.data(), 16, 0, 16);
      expect_product(w, x, y.data(), 16, 0, 16);
    }
  }
}

TEST(RoundToInt8, ErrsByHalfAStep) {
  constexpr int64_t kTokens = 5, kIn = 1000;
  std::vector<float> x = random_activations(kTokens, kIn, 14);
  std::fill_n(x.begin() + 64, 64, 0.0f);
  std::fill_n(x.begin() + 128, 64, 1e-38f);
  for (const Table* table : available_tables()) {
    const Rounded rounded(*table, x, kTokens, kIn);
    for (int64_t t = 0; t < kTokens; ++t) {
      for (int64_t i = 0; i < kIn; ++i) {
        // The quotient is off by three roundings of up to 127.
        const double step = rounded.scales[rounded.view.place(i / kInt8Group, t)];
        const double allowed = step * (0.5 + 3 * 127 * 0x1p-24) + kLeastInt8Maximum;
        ASSERT_LE(std::abs(rounded.at(t, i) - x[t * kIn + i]), allowed) << table->isa << " token " << t << " input " << i;
      }
      for (int64_t i = kIn; i < rounded.view.groups() * kInt8Group; ++i) {
        ASSERT_EQ(rounded.at(t, i), 0) << table->isa;
      }
    }
  }
}

TEST(MatmulQ8_0, ReadsEveryFiniteScale) {
  std::vector<BlockQ8_0> rows;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    if ((bits & 0x7c00u) != 0x7c00u) rows.push_back({fp16{static_cast<uint16_t>(bits)}, {1}});
  }
  std::vector<float> x(BlockQ8_0::kWeights);
  x[0] = 127.0f;  // its scale is 1
  const auto out = static_cast<int64_t>(rows.size());
  for (const Table* table : available_tables()) {
    const Rounded rounded(*table, x, 1, BlockQ8_0::kWeights);
    std::vector<float> y(rows.size(), kPoison);
    table->matmul_q8_0(rounded.view, rows.data(), y.data(), out, 0, out);
    for (int64_t o = 0; o < out; ++o) {
      ASSERT_EQ(y[o], 127 * to_float(rows[o].scale)) << table->isa << " scale bits " << rows[o].scale.bits;
    }
  }
}

}  // namespace
}  // namespace ringflash::kernels
