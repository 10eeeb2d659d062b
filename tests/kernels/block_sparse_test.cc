// Block-sparse linear layers of every instruction set against dense products in double, over odd counts of tokens and
// hostile patterns.
#include "kernels/block_sparse.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>

#include "base/aligned.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "expect_close.h"

namespace ringflash::kernels {
namespace {

using testing::expect_close;
using testing::kPoison;

constexpr double kUnit = 0x1p-24, kBf16Unit = 0x1p-8;

struct Layer {
  int64_t out, in;
  std::vector<uint8_t> mask;

  bool active(int64_t o, int64_t i) const { return mask[o / kBlockOuts * (in / kBlockIns) + i / kBlockIns] != 0; }
};

Layer layer_of(int64_t out, int64_t in, const std::function<bool(int64_t row, int64_t column)>& active) {
  Layer layer{out, in, {}};
  for (int64_t row = 0; row < out / kBlockOuts; ++row) {
    for (int64_t column = 0; column < in / kBlockIns; ++column) layer.mask.push_back(active(row, column));
  }
  return layer;
}

Layer random_layer(int64_t out, int64_t in, double density, uint64_t seed) {
  Rng rng(seed);
  return layer_of(out, in, [&](int64_t, int64_t) { return rng.uniform() < density; });
}

std::vector<Layer> layers() {
  return {
      random_layer(96, 112, 0.2, 1),
      random_layer(16, 16, 0.5, 2),
      layer_of(64, 96, [](int64_t, int64_t) { return true; }),
      layer_of(48, 32, [](int64_t, int64_t) { return false; }),
      // An empty row, a full one, one tile in the last column, one in the first: an odd number of rows.
      layer_of(80, 304, [](int64_t row, int64_t column) {
        return row == 1 || (row == 2 && column == 151) || (row == 3 && column == 0) || (row == 4 && column % 9 == 0);
      }),
      // Columns that are active in every row or in none.
      layer_of(112, 64, [](int64_t, int64_t column) { return column % 3 == 0; }),
  };
}

/// Rows of numbers as a table has them, and what they are worth.
struct Numbers {
  std::vector<float> stored;  ///< the table's rows, 4 bytes a slot
  std::vector<double> values;
};

Numbers random_numbers(int64_t rows, int64_t width, const Table& table, uint64_t seed) {
  Rng rng(seed);
  Numbers numbers;
  numbers.stored.resize(rows * slots_of(width, table));
  for (int64_t i = 0; i < rows * width; ++i) {
    const auto value = static_cast<float>(rng.normal());
    if (table.key_type == KeyType::kBf16) {
      reinterpret_cast<bf16*>(numbers.stored.data())[i] = to_bf16(value);
      numbers.values.push_back(to_float(to_bf16(value)));
    } else {
      numbers.stored[i] = value;
      numbers.values.push_back(value);
    }
  }
  return numbers;
}

std::vector<float> floats(const std::vector<float>& stored, int64_t count, const Table& table) {
  if (table.key_type == KeyType::kF32) return stored;
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(to_float(reinterpret_cast<const bf16*>(stored.data())[i]));
  return values;
}

/// The weight in fp32, poisoned where the mask leaves nothing, and what the products see of it.
struct Weight {
  std::vector<float> given;
  std::vector<double> seen;
};

Weight random_weight(const Layer& layer, const Table& table, uint64_t seed) {
  Rng rng(seed);
  Weight weight;
  for (int64_t o = 0; o < layer.out; ++o) {
    for (int64_t i = 0; i < layer.in; ++i) {
      const auto value = static_cast<float>(rng.normal());
      const double seen = table.key_type == KeyType::kBf16 ? to_float(to_bf16(value)) : value;
      weight.given.push_back(layer.active(o, i) ? value : kPoison);
      weight.seen.push_back(layer.active(o, i) ? seen : 0.0);
    }
  }
  return weight;
}

/// A layer's three products with a table.
struct Products {
  std::vector<float> y, dx, gradient;
};

Products products(const Layer& layer, const Weight& weight, const Numbers& x, const Numbers& dy, int64_t tokens,
                  const Table& table, Executor& executor, bool rows_on_the_way = false) {
  const BlockPattern pattern = BlockPattern::make(layer.mask, layer.out, layer.in).value();
  const BlockWeightSizes sizes = block_weight_sizes(pattern, table);
  AlignedVector<float> forward(sizes.forward), transposed(sizes.transposed);
  const BlockWeights weights{forward.data(), transposed.data()};
  pack_block_weights(pattern, weight.given.data(), table, executor, weights);
  const int64_t tiles = token_tiles(tokens);
  const int64_t in_slots = slots_of(layer.in, table), out_slots = slots_of(layer.out, table);
  const auto poisoned = [&](int64_t count) { return std::vector<float>(count, kPoison); };
  std::vector<float> x_packed = poisoned(tiles * in_slots * kTileTokens), dx_packed = x_packed;
  std::vector<float> y_packed = poisoned(tiles * out_slots * kTileTokens), dy_packed = y_packed;
  Products result{poisoned(tokens * out_slots), poisoned(tokens * in_slots), poisoned(layer.out * layer.in)};
  if (rows_on_the_way) {
    block_forward(pattern, weights, {x_packed.data(), x.stored.data()}, tokens, table, executor, {nullptr, result.y.data()});
    block_backward_input(pattern, weights, {dy_packed.data(), dy.stored.data()}, tokens, table, executor,
                         {nullptr, result.dx.data()});
  } else {
    pack_tokens(x.stored.data(), tokens, layer.in, table, executor, x_packed.data());
    pack_tokens(dy.stored.data(), tokens, layer.out, table, executor, dy_packed.data());
    block_forward(pattern, weights, {x_packed.data()}, tokens, table, executor, {y_packed.data()});
    block_backward_input(pattern, weights, {dy_packed.data()}, tokens, table, executor, {dx_packed.data()});
    unpack_tokens(y_packed.data(), tokens, layer.out, table, executor, result.y.data());
    unpack_tokens(dx_packed.data(), tokens, layer.in, table, executor, result.dx.data());
  }
  block_backward_weight(pattern, x_packed.data(), dy_packed.data(), tiles, table, executor, result.gradient.data());
  return result;
}

/// sum over k of a(i, k) b(j, k) for i < rows, j < columns.
std::vector<double> dense(int64_t rows, int64_t columns, int64_t sum, const std::function<double(int64_t, int64_t)>& a,
                          const std::function<double(int64_t, int64_t)>& b) {
  std::vector<double> result;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      double total = 0;
      for (int64_t k = 0; k < sum; ++k) total += a(i, k) * b(j, k);
      result.push_back(total);
    }
  }
  return result;
}

void check(const Layer& layer, int64_t tokens, const Table& table) {
  SCOPED_TRACE(std::string(table.isa) + " " + std::to_string(layer.out) + " x " + std::to_string(layer.in) + ", " +
               std::to_string(tokens) + " tokens");
  const Weight weight = random_weight(layer, table, 3);
  const Numbers x = random_numbers(tokens, layer.in, table, 4), dy = random_numbers(tokens, layer.out, table, 5);
  SerialExecutor executor;
  const Products got = products(layer, weight, x, dy, tokens, table, executor);
  const auto w = [&](int64_t o, int64_t i) { return weight.seen[o * layer.in + i]; };
  const auto w_in = [&](int64_t i, int64_t o) { return w(o, i); };
  const auto x_at = [&](int64_t t, int64_t i) { return x.values[t * layer.in + i]; };
  const auto dy_at = [&](int64_t t, int64_t o) { return dy.values[t * layer.out + o]; };

  // Sums of n products of normal numbers: each partial sum, of size sqrt(n), is rounded once. 6 is a maximum's deviation.
  const auto sum_error = [](int64_t n) { return 6 * static_cast<double>(n) * kUnit; };
  const double output = table.key_type == KeyType::kBf16 ? kBf16Unit : kUnit;
  expect_close(floats(got.y, tokens * layer.out, table), dense(tokens, layer.out, layer.in, x_at, w),
               {.absolute = sum_error(layer.in), .relative = output});
  expect_close(floats(got.dx, tokens * layer.in, table), dense(tokens, layer.in, layer.out, dy_at, w_in),
               {.absolute = sum_error(layer.out), .relative = output});
  std::vector<double> gradient = dense(
      layer.out, layer.in, tokens, [&](int64_t o, int64_t t) { return dy_at(t, o); },
      [&](int64_t i, int64_t t) { return x_at(t, i); });
  for (int64_t o = 0; o < layer.out; ++o) {
    for (int64_t i = 0; i < layer.in; ++i) {
      if (layer.active(o, i)) continue;
      ASSERT_EQ(got.gradient[o * layer.in + i], 0) << "an inactive tile";
      gradient[o * layer.in + i] = 0;
    }
  }
  expect_close(got.gradient, gradient, {.absolute = sum_error(tokens)});
}

TEST(BlockSparse, MatchesDenseProducts) {
  for (const Table* table : available_tables()) {
    for (const Layer& layer : layers()) {
      for (const int64_t tokens : {1, 31, 63, 64, 65}) check(layer, tokens, *table);
    }
  }
}

TEST(BlockSparse, SumsGradientsOverSpansOfTokens) {
  // Wide enough for several spans of tokens (1 MiB of x each at most, in fp32 and in bf16), narrow enough to check.
  const Layer layer = layer_of(16, 4096, [](int64_t, int64_t column) { return column % 97 == 3; });
  for (const Table* table : available_tables()) check(layer, 300, *table);
}

TEST(BlockSparse, RowsPackedOnTheWayGiveTheSameBits) {
  const Layer layer = random_layer(176, 144, 0.3, 7);
  for (const Table* table : available_tables()) {
    const Weight weight = random_weight(layer, *table, 8);
    SerialExecutor executor;
    for (const int64_t tokens : {1, 32, 33, 65, 97}) {
      const Numbers x = random_numbers(tokens, layer.in, *table, 9), dy = random_numbers(tokens, layer.out, *table, 10);
      const Products before = products(layer, weight, x, dy, tokens, *table, executor);
      const Products on_the_way = products(layer, weight, x, dy, tokens, *table, executor, /*rows_on_the_way=*/true);
      const auto same = [](const std::vector<float>& a, const std::vector<float>& b) {
        return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
      };
      EXPECT_TRUE(same(before.y, on_the_way.y)) << table->isa << ", " << tokens;
      EXPECT_TRUE(same(before.dx, on_the_way.dx)) << table->isa << ", " << tokens;
      EXPECT_TRUE(same(before.gradient, on_the_way.gradient)) << table->isa << ", " << tokens;
    }
  }
}

TEST(BlockSparse, DoesNotDependOnThreads) {
  const Layer layer = random_layer(176, 144, 0.3, 7);
  for (const Table* table : available_tables()) {
    const Weight weight = random_weight(layer, *table, 8);
    const Numbers x = random_numbers(333, layer.in, *table, 9), dy = random_numbers(333, layer.out, *table, 10);
    SerialExecutor one;
    ThreadPool many(3);
    const auto bytes = [](const std::vector<float>& numbers) {
      return std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(float));
    };
    const Products alone = products(layer, weight, x, dy, 333, *table, one);
    const Products together = products(layer, weight, x, dy, 333, *table, many);
    EXPECT_EQ(bytes(alone.y), bytes(together.y)) << table->isa;
    EXPECT_EQ(bytes(alone.dx), bytes(together.dx)) << table->isa;
    EXPECT_EQ(bytes(alone.gradient), bytes(together.gradient)) << table->isa;
  }
}

TEST(BlockSparse, ATokenIsTheSameInAnyBatch) {
  const Layer layer = random_layer(64, 96, 0.3, 11);
  for (const Table* table : available_tables()) {
    const Weight weight = random_weight(layer, *table, 12);
    const Numbers x = random_numbers(97, layer.in, *table, 13), dy = random_numbers(97, layer.out, *table, 14);
    SerialExecutor executor;
    const Products many = products(layer, weight, x, dy, 97, *table, executor);
    const Products few = products(layer, weight, x, dy, 33, *table, executor);
    EXPECT_TRUE(std::equal(few.dx.begin(), few.dx.end(), many.dx.begin())) << table->isa;
  }
}

TEST(BlockPattern, RefusesWhatDoesNotFit) {
  const std::vector<uint8_t> mask(64);
  const auto message = [&](int64_t out, int64_t in) { return BlockPattern::make(mask, out, in).error().message; };
  EXPECT_EQ(message(24, 32), "a block-sparse weight needs sizes that are multiples of 16, found 24 x 32");
  EXPECT_EQ(message(32, 24), "a block-sparse weight needs sizes that are multiples of 16, found 32 x 24");
  EXPECT_EQ(message(0, 16), "a block-sparse weight needs sizes that are multiples of 16, found 0 x 16");
  EXPECT_EQ(message(32, 32), "a mask of 32 x 32 has 32 tiles, found 64");
  EXPECT_EQ(message(int64_t{1} << 40, int64_t{1} << 30), "a block-sparse weight of 1099511627776 x 1073741824 is too large");
}

TEST(BlockPattern, CountsActiveTiles) {
  const Layer layer = random_layer(96, 112, 0.2, 1);
  const BlockPattern pattern = BlockPattern::make(layer.mask, layer.out, layer.in).value();
  EXPECT_EQ(pattern.active(), std::count(layer.mask.begin(), layer.mask.end(), 1));
  EXPECT_EQ(pattern.entries() % BlockIndex::kChunk, 0);
}

}  // namespace
}  // namespace ringflash::kernels
