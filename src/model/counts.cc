#include "model/counts.h"

#include <algorithm>

#include "model/tensors.h"

namespace ringflash {

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    switch (spec.role) {
      case TensorRole::kEmbedding: counts.embedding += spec.elements(); break;
      case TensorRole::kLinear: counts.linear += spec.elements(); break;
      case TensorRole::kRouter: counts.router += spec.elements(); break;
      case TensorRole::kNorm: counts.norm += spec.elements(); break;
    }
  }
  return counts;
}

int64_t visible_keys(const ModelConfig& config, AttentionKind kind, int64_t position) {
  if (kind == AttentionKind::kFull) return position + 1;
  const RingGeometry& ring = config.ring;
  const int64_t pages = std::max<int64_t>(0, ring.chunk(position) - ring.band_chunks());
  const int64_t local = position + 1 - pages * ring.stride;
  // Sinks that page 0 keeps as well are one key; which ones is learned, so the larger count is given.
  const int64_t sinks = pages > 0 ? ring.sink_tokens : 0;
  return local + std::min(pages * ring.page_tokens() + sinks, pages * ring.stride);
}

double forward_macs(const ModelConfig& config, int64_t tokens) {
  const ParameterCounts counts = count_parameters(config);
  const auto head = static_cast<double>(config.vocab_size * config.hidden_size);
  double macs = static_cast<double>(tokens) * (static_cast<double>(counts.linear + counts.router) + head);
  for (const AttentionKind kind : config.attention) {
    double keys = 0;
    for (int64_t t = 0; t < tokens; ++t) keys += static_cast<double>(visible_keys(config, kind, t));
    macs += 2.0 * keys * static_cast<double>(config.query_size());
  }
  return macs;
}

int64_t cache_entries(const ModelConfig& config, AttentionKind kind, int64_t position) {
  if (kind == AttentionKind::kFull) return position;
  const RingGeometry& ring = config.ring;
  const int64_t ring_slots = ring.window + ring.stride;
  const int64_t pages = ring.chunk(position);
  return std::min(position, ring_slots) + ring.sink_tokens + pages * ring.page_tokens();
}

int64_t cache_bytes(const ModelConfig& config, int64_t position, int64_t element_bytes) {
  int64_t entries = 0;
  for (const AttentionKind kind : config.attention) entries += cache_entries(config, kind, position);
  return entries * config.num_key_value_heads * config.head_dim * 2 * element_bytes;
}

}  // namespace ringflash
