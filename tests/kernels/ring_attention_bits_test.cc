// What ring attention promises to the bit, and how it chooses its pages.
#include "kernels/ring_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/thread_pool.h"
#include "expect_close.h"
#include "kernels/attention_batch.h"

namespace ringflash::testing {
namespace {

using kernels::AttentionShape;
using kernels::Table;

AttentionShape shape_with(GlobalSelect select) {
  AttentionShape shape = small_shape();
  shape.ring.select = select;
  shape.ring.top_pages_factor = 1;
  shape.ring.top_pages_run = 4;
  shape.ring.stride = 16;
  return shape;
}

class Selects : public ::testing::TestWithParam<GlobalSelect> {};
INSTANTIATE_TEST_SUITE_P(RingAttention, Selects,
                         ::testing::Values(GlobalSelect::kAll, GlobalSelect::kTopPages),
                         [](const auto& select) { return to_string(select.param); });

// Whatever happens from row `edge` on, nothing before it changes by a single bit.
TEST_P(Selects, TheFutureIsInvisible) {
  const Batch batch = make_batch(shape_with(GetParam()), {0, 200});
  const AttentionShape& shape = batch.shape;
  for (const Table* table : kernels::available_tables()) {
    const Results before = attend(batch, *table);
    for (const int64_t edge : {1, 31, 32, 63, 64, 97, 128, 150, 199}) {
      SCOPED_TRACE(std::string(table->isa) + ", edge " + std::to_string(edge));
      Batch changed = batch;
      const Batch other = make_batch(shape, batch.bounds, 99);
      const auto replace = [&](std::vector<float>& x, const std::vector<float>& from, int64_t width) {
        std::copy(from.begin() + edge * width, from.end(), x.begin() + edge * width);
      };
      replace(changed.q, other.q, shape.heads * shape.head_dim);
      replace(changed.k, other.k, shape.key_value_heads * shape.head_dim);
      replace(changed.v, other.v, shape.key_value_heads * shape.head_dim);
      for (int64_t u = edge * shape.key_value_heads; u < std::ssize(changed.router); ++u) {
        changed.router[static_cast<size_t>(u)] += 100.0f;  // would win any page it may not enter
      }
      const Results after = attend(changed, *table);
      const size_t rows = static_cast<size_t>(edge * shape.heads), values = rows * shape.head_dim;
      EXPECT_EQ(std::memcmp(before.out.data(), after.out.data(), values * sizeof(float)), 0);
      EXPECT_EQ(std::memcmp(before.lse.data(), after.lse.data(), rows * sizeof(float)), 0);
      EXPECT_NE(before.out[values], after.out[values]);
    }
  }
}

TEST_P(Selects, APrefixOfADocumentGetsTheSameBits) {
  const Batch batch = make_batch(shape_with(GetParam()), {0, 200});
  for (const Table* table : kernels::available_tables()) {
    const Results whole = attend(batch, *table);
    for (const int64_t n : {1, 17, 64, 130, 199}) {
      SCOPED_TRACE(std::string(table->isa) + ", n = " + std::to_string(n));
      Batch prefix = batch;
      prefix.shape.tokens = n;
      prefix.bounds = {0, n};
      prefix.q.resize(static_cast<size_t>(n * batch.shape.heads * batch.shape.head_dim));
      prefix.dout.resize(prefix.q.size());
      prefix.k.resize(static_cast<size_t>(n * batch.shape.key_value_heads * batch.shape.head_dim));
      prefix.v.resize(prefix.k.size());
      prefix.router.resize(static_cast<size_t>(n * batch.shape.key_value_heads));
      const Results part = attend(prefix, *table);
      EXPECT_EQ(std::memcmp(part.out.data(), whole.out.data(), part.out.size() * sizeof(float)), 0);
      EXPECT_EQ(std::memcmp(part.lse.data(), whole.lse.data(), part.lse.size() * sizeof(float)), 0);
    }
  }
}

// A document in a batch gets the very bits, forward and backward, that it gets alone.
TEST_P(Selects, DocumentsDoNotSeeEachOther) {
  const Batch packed = make_batch(shape_with(GetParam()), {0, 77, 300});
  for (const Table* table : kernels::available_tables()) {
    SCOPED_TRACE(table->isa);
    const Results together = attend(packed, *table);
    Batch alone = packed;
    alone.shape.tokens = 300 - 77;
    alone.bounds = {0, alone.shape.tokens};
    const auto drop = [&](std::vector<float>& x) {
      x.erase(x.begin(), x.begin() + std::ssize(x) / 300 * 77);
    };
    for (auto* x : {&alone.q, &alone.k, &alone.v, &alone.router, &alone.dout}) drop(*x);
    const Results separate = attend(alone, *table);
    const auto expect_tail = [](const std::vector<float>& whole, const std::vector<float>& tail) {
      ASSERT_LT(tail.size(), whole.size());
      EXPECT_EQ(
          std::memcmp(whole.data() + whole.size() - tail.size(), tail.data(), tail.size() * sizeof(float)),
          0);
    };
    expect_tail(together.out, separate.out);
    expect_tail(together.dq, separate.dq);
    expect_tail(together.dk, separate.dk);
    expect_tail(together.dv, separate.dv);
    expect_tail(together.drouter, separate.drouter);
  }
}

TEST_P(Selects, ThreadsDoNotChangeABit) {
  AttentionShape shape = shape_with(GetParam());
  shape.head_dim = 16;
  const Batch batch = make_batch(shape, {0, 1500, 1600});
  const Table& best = *kernels::available_tables().back();
  ThreadPool pool(3);
  const Results serial = attend(batch, best), parallel = attend(batch, best, pool);
  EXPECT_EQ(serial.out, parallel.out);
  EXPECT_EQ(serial.dq, parallel.dq);
  EXPECT_EQ(serial.dk, parallel.dk);
  EXPECT_EQ(serial.dv, parallel.dv);
  EXPECT_EQ(serial.drouter, parallel.drouter);
}

TEST(SelectPage, TakesTheBestInAscendingOrder) {
  const RingGeometry ring{.window = 16, .stride = 8, .global_ratio = 0.375};
  const std::vector<float> scores = {0, 9, 9, 1, 9, 2, 9, 9,
                                     9, 9, 9, 9, 3, 3, 0, 0};  // two interleaved heads
  std::vector<int32_t> page(3, -1);
  kernels::select_page(scores.data(), 2, ring, page);  // 0 9 9 9 9 9 3 0
  EXPECT_EQ(page, (std::vector<int32_t>{1, 2, 3}));
  kernels::select_page(scores.data() + 1, 2, ring, page);  // 9 1 2 9 9 9 3 0
  EXPECT_EQ(page, (std::vector<int32_t>{0, 3, 4}));
}

TEST(SelectPage, RanksNaNLast) {
  const RingGeometry ring{.window = 8, .stride = 4, .global_ratio = 0.5};
  const std::vector<float> scores = {kPoison, -5, kPoison, -7};
  std::vector<int32_t> page(2, -1);
  kernels::select_page(scores.data(), 1, ring, page);
  EXPECT_EQ(page, (std::vector<int32_t>{1, 3}));
}

TEST(RouterBias, IsTheLogarithmOfTheSigmoid) {
  for (const double r : {-80.0, -3.0, -0.5, 0.0, 0.5, 3.0, 12.0}) {
    const double expected = -std::log1p(std::exp(-r));
    EXPECT_NEAR(kernels::router_bias(static_cast<float>(r)), expected, 0x1p-24 * std::abs(expected)) << r;
  }
  EXPECT_EQ(kernels::router_bias(-1e30f), -1e30f);
  EXPECT_EQ(kernels::router_bias(1e30f), 0.0f);
}

}  // namespace
}  // namespace ringflash::testing
