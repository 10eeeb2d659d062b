// Ring attention on random batches, forward and backward, with every output guarded.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/naive_attention.h"
#include "kernels/ring_attention.h"

namespace ringflash::testing {

struct Batch {
  kernels::AttentionShape shape;
  std::vector<int64_t> bounds;
  std::vector<float> q, k, v, router, dout;
};

struct Results {
  std::vector<float> out, lse, dq, dk, dv, drouter;
};

/// Normal values for documents [bounds[i], bounds[i + 1]); `shape.tokens` is overwritten.
Batch make_batch(kernels::AttentionShape shape, std::vector<int64_t> bounds, uint64_t seed = 1);

NaiveInput widen(const Batch& batch);

Results attend(const Batch& batch, const kernels::Table& table, Executor& executor);
Results attend(const Batch& batch, const kernels::Table& table);

/// Compares what every table's `run` gives, attend() in one piece or in several, with the definition.
void expect_matches_definition(const Batch& batch,
                               const std::function<Results(const Batch&, const kernels::Table&)>& run);
void expect_matches_definition(const Batch& batch);

/// Four heads over two, a window of 64 in strides of 32.
kernels::AttentionShape small_shape();

}  // namespace ringflash::testing
