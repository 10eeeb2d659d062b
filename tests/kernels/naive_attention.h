// Attention straight from its definition: a predicate says which keys a query sees, every pair is looked at,
// and everything is in double. Shares no code with src/kernels; rotation, selection and bias are written
// again.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ring_attention.h"

namespace ringflash::testing {

/// Inputs of one packed batch, laid out as attention_forward states.
struct NaiveInput {
  kernels::AttentionShape shape;
  std::vector<int64_t> bounds;
  std::vector<double> q, k, v;
  std::vector<double> router;  ///< empty for none
};

struct NaiveOutput {
  std::vector<double> out, lse;
};

struct NaiveGradients {
  std::vector<double> q, k, v, router;
  std::vector<double>
      key_mass;  ///< [tokens, key_value_heads]: the probability each key collects from all queries
};

enum class Visibility { kNone, kLocal, kGlobal };

/// How the query at row t sees the key at row u for one KV head. `paged` is paged_rows() of that head.
Visibility visibility(const NaiveInput& input, const std::vector<bool>& paged, int64_t t, int64_t u);

/// Which rows of the batch their chunk's page keeps, for one KV head.
std::vector<bool> paged_rows(const NaiveInput& input, int64_t kv_head);

NaiveOutput naive_attention(const NaiveInput& input);
NaiveGradients naive_gradients(const NaiveInput& input, const std::vector<double>& dout);

}  // namespace ringflash::testing
