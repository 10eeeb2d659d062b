// What a model of a given config costs: parameters, arithmetic, cache.
#pragma once

#include <cstdint>

#include "model/config.h"

namespace ringflash {

struct ParameterCounts {
  int64_t embedding = 0, linear = 0, delta = 0, router = 0, norm = 0;
  int64_t active_linear = 0;  ///< those of `linear` that sparsity leaves
  /// Multiply-accumulates of a token with layers' matrices: a shared weight counts for each of its layers.
  int64_t layer_macs = 0;
  int64_t total() const { return embedding + linear + delta + router + norm; }
};

ParameterCounts count_parameters(const ModelConfig& config);

/// Keys that a query at `position` of a sequence of `tokens` attends to in a layer of this kind (its own
/// included). Sinks that page 0 keeps as well are one key; which ones is learned, so the larger count is
/// given. A bidirectional ring layer's page tokens see all `tokens` as queries; this is the count of the
/// others. Causal layers do not look at `tokens`.
int64_t visible_keys(const ModelConfig& config, AttentionKind kind, int64_t position, int64_t tokens);

/// Pairs of query and key of one query head in a layer of this kind, over a sequence of `tokens`.
double attention_pairs(const ModelConfig& config, AttentionKind kind, int64_t tokens);

/// Multiply-accumulates of the forward pass for `tokens` positions from 0: linear layers, head and attention.
double forward_macs(const ModelConfig& config, int64_t tokens);

/// The same model with all weights there, none shared, and full attention in every layer: what sparsity, sharing and the ring are measured
/// against.
ModelConfig dense_twin(ModelConfig config);

/// Entries (one key and one value of one head each) that a layer's cache holds at a position. With top_pages
/// each page's mean key, by which it is found, is half an entry. A bidirectional model decodes nothing and
/// keeps none.
int64_t cache_entries(const ModelConfig& config, AttentionKind kind, int64_t position);

/// Bytes of the whole cache at a position, with `element_bytes` per number.
int64_t cache_bytes(const ModelConfig& config, int64_t position, int64_t element_bytes);

}  // namespace ringflash
