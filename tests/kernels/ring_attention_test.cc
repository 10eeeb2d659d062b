#include "kernels/ring_attention.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/thread_pool.h"
#include "kernels/attention_cases.h"
#include "kernels/guarded_buffer.h"
#include "kernels/naive_attention.h"

namespace ringflash::testing {
namespace {

using kernels::AttentionShape;
using kernels::Table;

struct Batch {
  AttentionShape shape;
  std::vector<int64_t> bounds;
  std::vector<float> q, k, v, router, dout;
};

struct Results {
  std::vector<float> out, lse, dq, dk, dv, drouter;
};

Batch make_batch(AttentionShape shape, std::vector<int64_t> bounds, uint64_t seed = 1) {
  Rng rng(seed);
  shape.tokens = bounds.back();
  const auto queries = static_cast<size_t>(shape.tokens * shape.heads * shape.head_dim);
  const auto keys = static_cast<size_t>(shape.tokens * shape.key_value_heads * shape.head_dim);
  Batch batch{
      .shape = shape, .bounds = std::move(bounds), .q = {}, .k = {}, .v = {}, .router = {}, .dout = {}};
  batch.q = random_floats(queries, rng);
  batch.k = random_floats(keys, rng);
  batch.v = random_floats(keys, rng);
  batch.dout = random_floats(queries, rng);
  if (shape.kind == AttentionKind::kRing && shape.ring.page_tokens() > 0) {
    batch.router = random_floats(static_cast<size_t>(shape.tokens * shape.key_value_heads), rng, 2.0);
  }
  return batch;
}

NaiveInput widen(const Batch& batch) {
  return {batch.shape,
          batch.bounds,
          testing::widen(batch.q),
          testing::widen(batch.k),
          testing::widen(batch.v),
          testing::widen(batch.router)};
}

Results attend(const Batch& batch, const Table& table, Executor& executor) {
  GuardedBuffer q(batch.q), k(batch.k), v(batch.v), router(batch.router), dout(batch.dout);
  GuardedBuffer out(q.size()), lse(static_cast<size_t>((batch.shape.tokens - batch.shape.first_query) * batch.shape.heads));
  GuardedBuffer dq(q.size()), dk(k.size()), dv(v.size()), drouter(router.size());
  const float* scores = batch.router.empty() ? nullptr : router.data();
  kernels::attention_forward(batch.shape, q.data(), k.data(), v.data(), scores, batch.bounds, out.data(),
                             lse.data(), table, executor);
  kernels::attention_backward(batch.shape, q.data(), k.data(), v.data(), scores, batch.bounds, out.data(),
                              lse.data(), dout.data(), dq.data(), dk.data(), dv.data(),
                              scores ? drouter.data() : nullptr, table, executor);
  for (const GuardedBuffer* buffer : {&out, &lse, &dq, &dk, &dv, &drouter}) EXPECT_TRUE(buffer->intact());
  const auto copy = [](const GuardedBuffer& b) {
    return std::vector<float>(b.values().begin(), b.values().end());
  };
  return {copy(out), copy(lse), copy(dq), copy(dk), copy(dv), copy(drouter)};
}

Results attend(const Batch& batch, const Table& table) {
  SerialExecutor serial;
  return attend(batch, table, serial);
}

AttentionTolerances tolerances(const Batch& batch, const NaiveGradients& grad, kernels::KeyType type) {
  const int64_t d = batch.shape.head_dim;
  return attention_tolerances({.head_dim = d,
                               .keys = batch.shape.tokens,
                               .q_norm = largest_norm(batch.q, d),
                               .k_norm = largest_norm(batch.k, d),
                               .v_norm = largest_norm(batch.v, d),
                               .dout_norm = largest_norm(batch.dout, d),
                               .q_max = largest(batch.q),
                               .k_max = largest(batch.k),
                               .v_max = largest(batch.v),
                               .dout_max = largest(batch.dout),
                               .key_mass = *std::max_element(grad.key_mass.begin(), grad.key_mass.end())},
                              type);
}

/// `run` is attend() in one piece or in several.
template <typename Run = Results (*)(const Batch&, const Table&)>
void expect_matches_definition(const Batch& batch, Run run = attend) {
  const NaiveInput input = widen(batch);
  const NaiveOutput forward = naive_attention(input);
  const NaiveGradients grad = naive_gradients(input, testing::widen(batch.dout));
  for (const Table* table : kernels::available_tables()) {
    SCOPED_TRACE(std::string("ISA ") + table->isa);
    const AttentionTolerances tolerance = tolerances(batch, grad, table->key_type);
    const Results actual = run(batch, *table);
    expect_close(actual.out, forward.out, tolerance.out);
    expect_close(actual.lse, forward.lse, tolerance.lse);
    expect_close(actual.dq, grad.q, tolerance.dq);
    expect_close(actual.dk, grad.k, tolerance.dk);
    expect_close(actual.dv, grad.v, tolerance.dv);
    if (batch.router.empty()) continue;
    // A page's token collects the gradients of its mass as a key and, if queries ask with its score, of
    // those.
    const double asked =
        static_cast<double>(batch.shape.heads / batch.shape.key_value_heads) * tolerance.dlogit;
    expect_close(actual.drouter, grad.router, {.absolute = tolerance.dbias.absolute + asked});
  }
}

AttentionShape small_shape() {
  return {.tokens = 0,
          .heads = 4,
          .key_value_heads = 2,
          .head_dim = 32,
          .rope = {},
          .kind = AttentionKind::kRing,
          .mode = AttentionMode::kCausal,
          .ring = {.window = 64, .stride = 32, .global_ratio = 0.1, .sink_tokens = 3, .global_rope = false}};
}

TEST(RingAttention, MatchesTheDefinitionAroundEveryEdge) {
  for (const int64_t n : {1, 2, 31, 32, 33, 64, 95, 97, 200}) {
    SCOPED_TRACE("n = " + std::to_string(n));
    expect_matches_definition(make_batch(small_shape(), {0, n}));
  }
}

TEST(RingAttention, MatchesTheDefinitionAtDefaultWindow) {
  AttentionShape shape = small_shape();
  shape.heads = 1;
  shape.key_value_heads = 1;
  shape.ring = RingGeometry{};
  expect_matches_definition(make_batch(shape, {0, 1000}));
}

TEST(RingAttention, MatchesTheDefinitionAtEveryHeadDimension) {
  AttentionShape shape = small_shape();
  shape.heads = 2;
  shape.key_value_heads = 1;
  shape.ring = RingGeometry{};
  for (const int64_t head_dim : {32, 64, 80, 128, 256}) {
    SCOPED_TRACE("head_dim = " + std::to_string(head_dim));
    shape.head_dim = head_dim;
    const int64_t s = shape.ring.stride, w = shape.ring.window;
    for (const int64_t n : {int64_t{1}, int64_t{2}, s - 1, s, s + 1})
      expect_matches_definition(make_batch(shape, {0, n}));
    if (head_dim != 80) continue;  // the longer ones at one dimension: the definition is slow
    shape.heads = 1;
    for (const int64_t n : {w, w + s - 1, w + s + 1}) expect_matches_definition(make_batch(shape, {0, n}));
    shape.heads = 2;
  }
}

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

TEST(RingAttention, MatchesTheDefinitionForEveryGeometry) {
  struct Case {
    const char* name;
    RingGeometry ring;
    int64_t tokens;
  };
  const Case cases[] = {
      {"no pages, sinks only", {.window = 16, .stride = 8, .global_ratio = 0.0, .sink_tokens = 4}, 70},
      {"neither pages nor sinks", {.window = 16, .stride = 8, .global_ratio = 0.0, .sink_tokens = 0}, 70},
      {"pages without sinks", {.window = 16, .stride = 8, .global_ratio = 0.3, .sink_tokens = 0}, 70},
      {"whole chunks as pages", {.window = 16, .stride = 8, .global_ratio = 1.0, .sink_tokens = 8}, 70},
      {"stride 1", {.window = 3, .stride = 1, .global_ratio = 0.5, .sink_tokens = 1}, 20},
      {"window of one stride", {.window = 16, .stride = 16, .global_ratio = 0.2, .sink_tokens = 4}, 90},
      {"window of four strides", {.window = 32, .stride = 8, .global_ratio = 0.2, .sink_tokens = 4}, 90},
      {"odd stride", {.window = 22, .stride = 11, .global_ratio = 0.2, .sink_tokens = 4}, 90},
      {"rotated globals",
       {.window = 16, .stride = 8, .global_ratio = 0.3, .sink_tokens = 4, .global_rope = true},
       70},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    AttentionShape shape = small_shape();
    shape.head_dim = 10;
    shape.ring = c.ring;
    expect_matches_definition(make_batch(shape, {0, c.tokens}));
  }
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

TEST(RingAttention, HeadsAndGroupsOfEverySize) {
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {3, 3}, {4, 1}, {6, 2}}) {
    SCOPED_TRACE(std::to_string(heads) + " heads, " + std::to_string(kv_heads) + " KV heads");
    AttentionShape shape = small_shape();
    shape.heads = heads;
    shape.key_value_heads = kv_heads;
    shape.head_dim = 6;
    expect_matches_definition(make_batch(shape, {0, 140}));
  }
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
