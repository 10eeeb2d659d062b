// attend and attend_backward of every table against softmax written out in double over lists of visible keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/ceil_div.h"
#include "kernels/attention_problem.h"

namespace ringflash::testing {
namespace {

using kernels::KeySpanGrad;
using kernels::Table;

/// Expected plus what the buffer held before: gradients are added to.
void expect_added(const Rows& actual, const Rows& before, std::vector<double> expected, Tolerance tolerance,
                  const char* name) {
  SCOPED_TRACE(name);
  EXPECT_TRUE(actual.buffer.intact());
  if (expected.empty()) return;
  const std::vector<float> start = before.values();
  for (size_t i = 0; i < expected.size(); ++i) expected[i] += static_cast<double>(start[i]);
  tolerance.relative += 0x1p-22;  // the additions' own roundings, one for each tile and block of keys
  tolerance.absolute += 0x1p-22 * largest(start);
  expect_close(actual.values(), expected, tolerance);
}

/// Rows of `width` numbers as whole blocks of padded ones, to which nothing is added.
std::vector<double> pad_rows(const std::vector<double>& x, int64_t width) {
  const int64_t rows = std::ssize(x) / width, padded = kernels::padded_dim(width);
  const int64_t blocks = ceil_div(rows, kernels::kBlockKeys);
  std::vector<double> result(static_cast<size_t>(blocks * kernels::kBlockKeys * padded));
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(&x[static_cast<size_t>(row * width)], width, &result[static_cast<size_t>(row * padded)]);
  return result;
}

void check(const Problem& problem, const Table& table) {
  SCOPED_TRACE(std::string(table.isa) + ": " + std::to_string(problem.spec.tokens) + " tokens, " +
               std::to_string(problem.spec.heads) + " heads of " + std::to_string(problem.spec.head_dim));
  const int64_t d = problem.spec.head_dim, heads = problem.spec.heads;
  const Expected expected = solve(problem);
  const AttentionTolerances tolerance = tolerances(problem, expected);
  const std::vector<KeySpan> spans = problem.spans();

  Rng rng(11);
  Rows out(problem.rows(), d, problem.dout.stride, rng);
  out.buffer.fill(kPoison);
  GuardedBuffer lse(static_cast<size_t>(problem.rows()));
  table.attend(problem.queries(), spans,
               {.out = out.buffer.data(),
                .token_stride = out.stride * heads,
                .head_stride = out.stride,
                .lse = lse.data(),
                .lse_token_stride = heads});
  EXPECT_TRUE(out.buffer.intact());
  EXPECT_TRUE(lse.intact());
  expect_close(out.values(), expected.out, tolerance.out);
  expect_close({lse.values().begin(), lse.values().end()}, expected.lse, tolerance.lse);

  const Rows dq_before(problem.rows(), d, d + 4, rng), dq_global_before(problem.rows(), d, d + 4, rng);
  Rows dq = dq_before, dq_global = dq_global_before;
  std::vector<Rows> dk, dv, dbias, dquery_bias;
  for (const SpanSpec& span : problem.spec.spans) {
    const int64_t blocks = ceil_div(span.count, kernels::kBlockKeys);
    const int64_t padded = kernels::padded_dim(d);
    dk.emplace_back(blocks * kernels::kBlockKeys, padded, padded, rng);
    dv.emplace_back(blocks * kernels::kBlockKeys, padded, padded, rng);
    dbias.emplace_back(span.count, 1, 1, rng);
    dquery_bias.emplace_back(problem.spec.tokens, 1, 1, rng);
  }
  const std::vector<Rows> dk_before = dk, dv_before = dv, dbias_before = dbias,
                          dquery_bias_before = dquery_bias;
  std::vector<KeySpanGrad> grads;
  for (size_t i = 0; i < spans.size(); ++i) {
    grads.push_back({.dk = dk[i].buffer.data(),
                     .dv = dv[i].buffer.data(),
                     .dbias = spans[i].bias ? dbias[i].buffer.data() : nullptr,
                     .dquery_bias = spans[i].query_bias ? dquery_bias[i].buffer.data() : nullptr});
  }
  table.attend_backward(problem.queries(), spans,
                        {.dout = problem.dout.buffer.data(),
                         .out = out.buffer.data(),
                         .token_stride = out.stride * heads,
                         .head_stride = out.stride,
                         .lse = lse.data(),
                         .lse_token_stride = heads},
                        {.dq = dq.buffer.data(),
                         .dq_global = dq_global.buffer.data(),
                         .token_stride = dq.stride * heads,
                         .head_stride = dq.stride},
                        grads);
  expect_added(dq, dq_before, expected.dq, tolerance.dq, "dq");
  expect_added(dq_global, dq_global_before, expected.dq_global, tolerance.dq, "dq_global");
  for (size_t i = 0; i < spans.size(); ++i) {
    expect_added(dk[i], dk_before[i], pad_rows(expected.dk[i], d), tolerance.dk, "dk");
    expect_added(dv[i], dv_before[i], pad_rows(expected.dv[i], d), tolerance.dv, "dv");
    expect_added(dbias[i], dbias_before[i], expected.dbias[i], tolerance.dbias, "dbias");
    const Tolerance query_tolerance{.absolute = tolerance.dlogit * static_cast<double>(problem.spec.heads)};
    expect_added(dquery_bias[i], dquery_bias_before[i], expected.dquery_bias[i], query_tolerance,
                 "dquery_bias");
  }
}

void check_all(const Spec& spec) {
  for (const Table* table : kernels::available_tables()) check(Problem(spec, table->key_type), *table);
}

TEST(Attend, HeadDimensionsTimesGroups) {
  for (const int64_t head_dim : {2, 6, 16, 32, 64, 80, 128}) {
    for (const int64_t heads : {1, 2, 4}) {
      check_all({.tokens = 33,
                 .heads = heads,
                 .head_dim = head_dim,
                 .spans = {{.count = 133, .visible = 101, .bias = false, .global = false},
                           {.count = 29, .visible = kernels::kAllVisible, .bias = true, .global = true}}});
    }
  }
}

TEST(Attend, EveryCountAroundTilesAndBlocks) {
  for (const int64_t count : {1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 95, 96, 97, 129, 193}) {
    for (const int64_t tokens : {1, 5, 64}) {
      check_all({.tokens = tokens,
                 .heads = 2,
                 .head_dim = 20,
                 .spans = {{.count = count, .visible = count - tokens + 1, .bias = true, .global = false}}});
    }
  }
}

TEST(Attend, SpansOfEveryKindInOneSoftmax) {
  check_all({.tokens = 40,
             .heads = 3,
             .head_dim = 32,
             .spans = {{.count = 17, .visible = kernels::kAllVisible, .bias = true, .global = true},
                       {.count = 0, .visible = kernels::kAllVisible, .bias = false, .global = false},
                       {.count = 70, .visible = 31, .bias = false, .global = false},
                       {.count = 3, .visible = kernels::kAllVisible, .bias = false, .global = true},
                       {.count = 50, .visible = 5, .bias = true, .global = false}}});
}

TEST(Attend, SpansThatBeginWithinABlock) {
  for (const int64_t begin : {1, 31, 32, 45, 100, 128}) {
    check_all(
        {.tokens = 20,
         .heads = 2,
         .head_dim = 16,
         .spans = {
             {.count = 150, .visible = 126, .bias = false, .global = false, .begin = begin},
             {.count = 140, .visible = kernels::kAllVisible, .bias = true, .global = true, .begin = begin}}});
  }
}

TEST(Attend, BiasesOfQueries) {
  check_all(
      {.tokens = 21,
       .heads = 3,
       .head_dim = 32,
       .spans = {
           {.count = 70, .visible = 40, .bias = false, .global = false},
           {.count = 90, .visible = kernels::kAllVisible, .bias = false, .global = true, .query_bias = true},
           {.count = 33,
            .visible = kernels::kAllVisible,
            .bias = true,
            .global = false,
            .query_bias = true}}});
}

// The first rows see nothing: zeros, lse of -infinity, and no gradient, with no NaN anywhere.
TEST(Attend, RowsThatSeeNothing) {
  check_all({.tokens = 20,
             .heads = 2,
             .head_dim = 32,
             .spans = {{.count = 30, .visible = -9, .bias = false, .global = false},
                       {.count = 8, .visible = -12, .bias = true, .global = true}}});
  check_all({.tokens = 5, .heads = 1, .head_dim = 8, .spans = {}});
  check_all({.tokens = 5, .heads = 1, .head_dim = 8, .spans = {{10, -100, false, false}}});
}

// Logits in the hundreds: exp of them would overflow without the running maximum.
TEST(Attend, LargeLogits) {
  check_all({.tokens = 24,
             .heads = 2,
             .head_dim = 64,
             .spans = {{.count = 150, .visible = 127, .bias = true, .global = false}},
             .scale_factor = 30.0});
}

/// What `attend` writes for a problem: out's rows, then lse.
std::vector<float> attended(const Problem& problem, auto attend) {
  Rng rng(11);
  Rows out(problem.rows(), problem.spec.head_dim, problem.dout.stride, rng);
  out.buffer.fill(kPoison);
  GuardedBuffer lse(static_cast<size_t>(problem.rows()));
  attend(kernels::AttentionOutput{.out = out.buffer.data(),
                                  .token_stride = out.stride * problem.spec.heads,
                                  .head_stride = out.stride,
                                  .lse = lse.data(),
                                  .lse_token_stride = problem.spec.heads});
  EXPECT_TRUE(out.buffer.intact());
  EXPECT_TRUE(lse.intact());
  std::vector<float> all = out.values();
  all.insert(all.end(), lse.values().begin(), lse.values().end());
  return all;
}

/// In steps of `run` and slices of `elements`, the last ones first.
void attend_in_parts(const kernels::SplitAttention& split, const Problem& problem, int64_t run, int64_t elements,
                     const kernels::AttentionOutput& output) {
  const std::vector<KeySpan> spans = problem.spans();
  const int64_t steps = split.steps(spans), d = problem.spec.head_dim;
  std::vector<float> logits(static_cast<size_t>(steps * split.step_keys * split.lanes), kPoison);
  for (int64_t begin = steps / run * run; begin >= 0; begin -= run) {
    split.logits(problem.queries(), spans, begin, begin + run, logits.data());
  }
  for (int64_t begin = (d - 1) / elements * elements; begin >= 0; begin -= elements) {
    split.values(problem.queries(), spans, logits.data(), begin, std::min(begin + elements, d), output);
  }
}

TEST(Attend, OneTokenInPartsGetsTheSameBits) {
  for (const Table* table : kernels::available_tables()) {
    if (table->split_attention == nullptr) continue;
    const kernels::SplitAttention& split = *table->split_attention;
    for (const int64_t heads : {1, 3, 4, 5, 8, 16}) {
      if (heads > split.lanes) continue;
      for (const int64_t head_dim : {6, 64, 80, 256}) {
        const Problem problem({.tokens = 1,
                               .heads = heads,
                               .head_dim = head_dim,
                               .spans = {{.count = 40, .visible = kernels::kAllVisible, .bias = true, .global = true},
                                         {.count = 0, .visible = 5, .bias = false, .global = false},
                                         {.count = 515, .visible = 501, .bias = false, .global = false, .begin = 37},
                                         {.count = 9, .visible = -3, .bias = false, .global = true},
                                         {.count = 130, .visible = 130, .bias = false, .global = true, .query_bias = true}}},
                              table->key_type);
        const std::vector<float> whole = attended(problem, [&](const auto& output) {
          table->attend(problem.queries(), problem.spans(), output);
        });
        for (const auto& [run, elements] : {std::pair<int64_t, int64_t>{1, 32}, {2, 64}, {100, 128}, {3, 512}}) {
          SCOPED_TRACE(std::string(table->isa) + ": " + std::to_string(heads) + " heads of " + std::to_string(head_dim) +
                       ", steps of " + std::to_string(run));
          expect_same_bits(attended(problem, [&, run = run, elements = elements](const auto& output) {
                             attend_in_parts(split, problem, run, elements, output);
                           }), whole);
        }
      }
    }
  }
}

TEST(Attend, LseIsOptionalAndDqMayBeShared) {
  for (const Table* table : kernels::available_tables()) {
    SCOPED_TRACE(table->isa);
    const Problem problem(
        {.tokens = 9,
         .heads = 2,
         .head_dim = 12,
         .spans = {{.count = 20, .visible = 12, .bias = false, .global = false},
                   {.count = 6, .visible = kernels::kAllVisible, .bias = true, .global = true}}},
        table->key_type);
    const Expected expected = solve(problem);
    const AttentionTolerances tolerance = tolerances(problem, expected);
    const std::vector<float> lse(expected.lse.begin(), expected.lse.end());
    std::vector<float> out(expected.out.size(), kPoison);
    const int64_t d = problem.spec.head_dim, heads = problem.spec.heads;
    table->attend(problem.queries(), problem.spans(),
                  {.out = out.data(),
                   .token_stride = heads * d,
                   .head_stride = d,
                   .lse = nullptr,
                   .lse_token_stride = 0});
    expect_close(out, expected.out, tolerance.out);

    constexpr int64_t kBlock = kernels::kBlockKeys * kernels::padded_dim(12);
    std::vector<float> dq(out.size()), dout = problem.dout.values(), dk(kBlock), dv(kBlock), dbias(6);
    std::vector<float> global_dk(kBlock), global_dv(kBlock);
    const std::vector<KeySpanGrad> grads = {{dk.data(), dv.data(), nullptr, nullptr},
                                            {global_dk.data(), global_dv.data(), dbias.data(), nullptr}};
    table->attend_backward(problem.queries(), problem.spans(),
                           {dout.data(), out.data(), heads * d, d, lse.data(), heads},
                           {dq.data(), dq.data(), heads * d, d}, grads);
    std::vector<double> sum = expected.dq;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += expected.dq_global[i];
    expect_close(dq, sum, {.absolute = 2 * tolerance.dq.absolute});
  }
}

}  // namespace
}  // namespace ringflash::testing
