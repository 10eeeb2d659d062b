#include "kernels/ring_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "kernels/attention_batch.h"
#include "kernels/attention_cases.h"
#include "kernels/naive_attention.h"

namespace ringflash::testing {
namespace {

using kernels::AttentionShape;
using kernels::Table;

TEST(RingAttention, MatchesTheDefinitionFarBeyondTheWindow) {
  AttentionShape shape = small_shape();
  shape.heads = shape.key_value_heads = 1;
  shape.head_dim = 6;
  for (const GlobalSelect select : {GlobalSelect::kAll, GlobalSelect::kTopPages}) {
    shape.ring = RingGeometry{.select = select, .top_pages_factor = 1};
    expect_matches_definition(make_batch(shape, {0, 4097}));
  }
}

TEST(RingAttention, TopPagesMatchTheDefinition) {
  struct Case {
    const char* name;
    RingGeometry ring;
  };
  const RingGeometry base{.window = 16,
                          .stride = 8,
                          .global_ratio = 0.3,
                          .sink_tokens = 3,
                          .global_rope = false,
                          .select = GlobalSelect::kTopPages,
                          .top_pages_factor = 1,
                          .top_pages_run = 4};
  RingGeometry rotated = base, alone = base, odd = base, sinks = base, many = base;
  rotated.global_rope = true;
  alone.top_pages_run = 1;
  odd.top_pages_run = 3;
  sinks.global_ratio = 0;
  many.top_pages_factor = 100;
  for (const auto& [name, ring] :
       {Case{"runs of four", base}, Case{"rotated", rotated}, Case{"each by itself", alone},
        Case{"runs that do not divide a chunk", odd}, Case{"sinks only", sinks},
        Case{"a budget that does not bind", many}}) {
    SCOPED_TRACE(name);
    AttentionShape shape = small_shape();
    shape.head_dim = 10;
    shape.ring = ring;
    expect_matches_definition(make_batch(shape, {0, 5, 305}));
  }
}

TEST(RingAttention, PagesOfEverySizeAreGathered) {
  for (const double ratio : {0.03, 0.4, 0.5, 0.55, 1.0}) {  // 1, 13, 16, 18, 32 of 32
    SCOPED_TRACE(ratio);
    AttentionShape shape = small_shape();
    shape.heads = 2;
    shape.key_value_heads = 1;
    shape.ring.global_ratio = ratio;
    shape.ring.select = GlobalSelect::kTopPages;
    shape.ring.top_pages_factor = 1;
    shape.ring.top_pages_run = 16;
    expect_matches_definition(make_batch(shape, {0, 400}));
  }
}

TEST(RingAttention, BidirectionalMatchesTheDefinition) {
  for (const bool global_rope : {false, true}) {
    for (const double ratio : {0.0, 0.3}) {
      // One chunk, all within the band, the first that wraps, a last chunk that is complete, and one that is
      // not.
      for (const int64_t n : {5, 40, 41, 72, 77}) {
        SCOPED_TRACE("n = " + std::to_string(n) + ", ratio " + std::to_string(ratio));
        AttentionShape shape = small_shape();
        shape.mode = AttentionMode::kBidirectional;
        shape.ring = {
            .window = 16, .stride = 8, .global_ratio = ratio, .sink_tokens = 2, .global_rope = global_rope};
        shape.head_dim = 10;
        expect_matches_definition(make_batch(shape, {0, n}));
      }
    }
  }
  AttentionShape shape = small_shape();
  shape.mode = AttentionMode::kBidirectional;
  expect_matches_definition(make_batch(shape, {0, 7, 300, 420}));
  shape.kind = AttentionKind::kFull;
  expect_matches_definition(make_batch(shape, {0, 7, 100}));
}

// More than one segment, so that what several of them give to the same keys is summed.
TEST(RingAttention, BidirectionalSegmentsAreMerged) {
  AttentionShape shape = small_shape();
  shape.mode = AttentionMode::kBidirectional;
  shape.heads = shape.key_value_heads = 1;
  shape.head_dim = 8;
  expect_matches_definition(make_batch(shape, {0, 1100}));
}

TEST(RingAttention, FullKindSeesEveryEarlierToken) {
  AttentionShape shape = small_shape();
  shape.kind = AttentionKind::kFull;
  for (const int64_t n : {1, 65, 150}) {
    SCOPED_TRACE("n = " + std::to_string(n));
    expect_matches_definition(make_batch(shape, {0, n}));
  }
}

// Windows of one key, within a block, of whole blocks, across several, and longer than all; documents longer than one
// backward segment.
TEST(RingAttention, SlidingKindSeesTheLastTokens) {
  AttentionShape shape = small_shape();
  shape.kind = AttentionKind::kSliding;
  for (const int64_t window : {1, 2, 31, 32, 33, 64, 100, 500}) {
    SCOPED_TRACE("window = " + std::to_string(window));
    shape.sliding_window = window;
    for (const int64_t n : {1, 33, 65, 150}) expect_matches_definition(make_batch(shape, {0, n}));
    expect_matches_definition(make_batch(shape, {0, 5, 137, 138, 200}));
  }
  shape.heads = shape.key_value_heads = 1;
  shape.head_dim = 8;
  shape.sliding_window = 70;
  expect_matches_definition(make_batch(shape, {0, 1100}));
}

TEST(RingAttention, PackedDocumentsMatchTheDefinition) {
  expect_matches_definition(make_batch(small_shape(), {0, 5, 5, 137, 138, 200}));
}

// Longer than one backward segment, so that merged parts are compared too.
TEST(RingAttention, LongDocumentsMergeTheirSegments) {
  AttentionShape shape = small_shape();
  shape.heads = shape.key_value_heads = 1;
  shape.head_dim = 8;
  expect_matches_definition(make_batch(shape, {0, 1100}));
}

/// Rows [first, last) of the queries with the keys of rows [0, last).
Batch slice(const Batch& whole, int64_t first, int64_t last) {
  const AttentionShape& shape = whole.shape;
  const auto rows = [](const std::vector<float>& all, int64_t begin, int64_t end, int64_t width) {
    return std::vector<float>(all.begin() + begin * width, all.begin() + end * width);
  };
  const int64_t query = shape.heads * shape.head_dim, key = shape.key_value_heads * shape.head_dim;
  Batch part = whole;
  part.shape.tokens = last;
  part.shape.first_query = first;
  std::erase_if(part.bounds, [&](int64_t bound) { return bound >= last; });
  part.bounds.push_back(last);
  part.q = rows(whole.q, first, last, query);
  part.dout = rows(whole.dout, first, last, query);
  part.k = rows(whole.k, 0, last, key);
  part.v = rows(whole.v, 0, last, key);
  if (!whole.router.empty()) part.router = rows(whole.router, 0, last, shape.key_value_heads);
  return part;
}

TEST(RingAttention, SlicesOfQueriesMakeUpTheWhole) {
  for (const AttentionKind kind : {AttentionKind::kRing, AttentionKind::kFull}) {
    AttentionShape shape = small_shape();
    shape.kind = kind;
    for (const int64_t cut : {60, 131, 299}) {
      SCOPED_TRACE("cut at " + std::to_string(cut));
      expect_matches_definition(make_batch(shape, {0, 60, 300}), [&](const Batch& whole, const Table& table) {
        Results all = attend(slice(whole, 0, cut), table), rest = attend(slice(whole, cut, 300), table);
        for (auto rows : {&Results::out, &Results::lse, &Results::dq}) {
          (all.*rows).insert((all.*rows).end(), (rest.*rows).begin(), (rest.*rows).end());
        }
        for (auto sums : {&Results::dk, &Results::dv, &Results::drouter}) {
          for (size_t i = 0; i < (all.*sums).size(); ++i) (rest.*sums)[i] += (all.*sums)[i];
          all.*sums = rest.*sums;
        }
        return all;
      });
    }
  }
}

TEST(RingAttention, NothingToDoIsFine) {
  const Batch batch = make_batch(small_shape(), {0, 0});
  EXPECT_TRUE(attend(batch, kernels::table()).out.empty());
}

// The naive gradients against central differences of the naive forward pass, every coordinate.
TEST(NaiveAttention, GradientsMatchFiniteDifferences) {
  AttentionShape shape = small_shape();
  shape.head_dim = 4;
  shape.ring = {.window = 4, .stride = 4, .global_ratio = 0.5, .sink_tokens = 2};
  const Batch batch = make_batch(shape, {0, 5, 27}, 7);
  NaiveInput input = widen(batch);
  const std::vector<double> dout = testing::widen(batch.dout);
  const NaiveGradients grad = naive_gradients(input, dout);
  const auto loss = [&] {
    double sum = 0;
    const NaiveOutput forward = naive_attention(input);
    for (size_t i = 0; i < dout.size(); ++i) sum += dout[i] * forward.out[i];
    return sum;
  };
  const auto check = [&](std::vector<double>& x, const std::vector<double>& expected) {
    for (size_t i = 0; i < x.size(); ++i) {
      // Truncation h^2 and rounding 1e-16 / h are both near 1e-10; gradients are of order 1.
      const double h = 1e-5, kept = x[i];
      x[i] = kept + h;
      const double above = loss();
      x[i] = kept - h;
      const double below = loss();
      x[i] = kept;
      ASSERT_NEAR((above - below) / (2 * h), expected[i], 1e-7) << "coordinate " << i;
    }
  };
  check(input.q, grad.q);
  check(input.k, grad.k);
  check(input.v, grad.v);
  check(input.router, grad.router);
}

}  // namespace
}  // namespace ringflash::testing
