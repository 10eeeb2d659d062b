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

/// kLocal: rotated, no bias. kGlobal: with the key's bias. kAsked: with the query's own bias, which is how a
/// bidirectional layer's global tokens see what is far.
enum class Visibility { kNone, kLocal, kGlobal, kAsked };

/// What one KV head keeps of each chunk, and which chunks' pages the queries of top_pages choose.
struct NaivePages {
  std::vector<bool> paged;                  ///< [tokens]: rows that their chunk's page keeps
  std::vector<std::vector<int64_t>> chosen; ///< [tokens]: chunks whose pages the query at a row reads, if it chooses
};
NaivePages naive_pages(const NaiveInput& input, int64_t kv_head);

/// How the query at row t sees the key at row u.
Visibility visibility(const NaiveInput& input, const NaivePages& pages, int64_t t, int64_t u);

NaiveOutput naive_attention(const NaiveInput& input);
NaiveGradients naive_gradients(const NaiveInput& input, const std::vector<double>& dout);

}  // namespace ringflash::testing
