#include "kernels/attention_batch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/attention_cases.h"
#include "kernels/guarded_buffer.h"

namespace ringflash::testing {

using kernels::AttentionShape;
using kernels::Table;

Batch make_batch(AttentionShape shape, std::vector<int64_t> bounds, uint64_t seed) {
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

namespace {

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

}  // namespace

void expect_matches_definition(const Batch& batch,
                               const std::function<Results(const Batch&, const Table&)>& run) {
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

void expect_matches_definition(const Batch& batch) {
  expect_matches_definition(batch, [](const Batch& whole, const Table& table) { return attend(whole, table); });
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

}  // namespace ringflash::testing
