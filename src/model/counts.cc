#include "model/counts.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

int64_t causal_ring_keys(const RingGeometry& ring, int64_t position) {
  const int64_t chunk = ring.chunk(position);
  const int64_t behind = std::max<int64_t>(0, chunk - ring.band_chunks());
  const int64_t local = position + 1 - behind * ring.stride;
  const int64_t sinks = behind > 0 ? ring.sink_tokens : 0;
  const bool all = ring.select == GlobalSelect::kAll;
  const int64_t pages = all ? behind : std::min(behind, ring.page_budget(chunk + 1));
  return local + std::min(pages * ring.page_tokens() + sinks, behind * ring.stride);
}

int64_t causal_keys(const ModelConfig& config, AttentionKind kind, int64_t position) {
  switch (kind) {
    case AttentionKind::kFull:
      return position + 1;
    case AttentionKind::kRing:
      return causal_ring_keys(config.ring, position);
    case AttentionKind::kSliding:
      return std::min(position + 1, config.sliding_window);
  }
  RF_UNREACHABLE();
}

/// The band is counted round the ring of ceil(tokens / stride) chunks, of which only complete ones have a
/// page.
int64_t bidirectional_ring_keys(const RingGeometry& ring, int64_t position, int64_t tokens) {
  const int64_t chunks = ceil_div(tokens, ring.stride);
  const int64_t band = 2 * ring.band_chunks() + 1;
  if (band >= chunks) return tokens;
  const int64_t chunk = ring.chunk(position), last = chunks - 1;
  const int64_t distance = std::min(last - chunk, chunk + 1);  // round the ring, to the chunk that may be cut
  const int64_t missing = chunks * ring.stride - tokens;
  const bool last_is_local = distance <= ring.band_chunks();
  const int64_t local = band * ring.stride - (last_is_local ? missing : 0);
  const int64_t pages = chunks - band - (missing > 0 && !last_is_local ? 1 : 0);
  return local + pages * ring.page_tokens();
}

}  // namespace

ParameterCounts count_parameters(const ModelConfig& config) {
  ParameterCounts counts;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    switch (spec.role) {
      case TensorRole::kEmbedding:
        counts.embedding += spec.elements();
        break;
      case TensorRole::kLinear: {
        const int64_t active = active_weights(config.sparsity.pattern_of(spec.name), config.sparsity.keep,
                                              spec.shape[0], spec.shape[1]);
        counts.linear += spec.elements();
        counts.active_linear += active;
        counts.layer_macs += active * spec.layers;
        break;
      }
      case TensorRole::kDelta:
        counts.delta += spec.elements();
        counts.layer_macs += spec.elements();
        break;
      case TensorRole::kRouter:
        counts.router += spec.elements();
        counts.layer_macs += spec.elements();
        break;
      case TensorRole::kNorm:
        counts.norm += spec.elements();
        break;
    }
  }
  return counts;
}

int64_t visible_keys(const ModelConfig& config, AttentionKind kind, int64_t position, int64_t tokens) {
  switch (config.attention_mode) {
    case AttentionMode::kCausal:
      return causal_keys(config, kind, position);
    case AttentionMode::kBidirectional:
      return kind == AttentionKind::kFull ? tokens : bidirectional_ring_keys(config.ring, position, tokens);
  }
  RF_UNREACHABLE();
}

double attention_pairs(const ModelConfig& config, AttentionKind kind, int64_t tokens) {
  double pairs = 0;
  for (int64_t t = 0; t < tokens; ++t) pairs += static_cast<double>(visible_keys(config, kind, t, tokens));
  if (kind == AttentionKind::kRing && config.attention_mode == AttentionMode::kBidirectional) {
    const RingGeometry& ring = config.ring;
    for (int64_t chunk = 0; chunk < ring.chunk(tokens); ++chunk) {
      const int64_t others = visible_keys(config, kind, chunk * ring.stride, tokens);
      pairs += static_cast<double>(ring.page_tokens() * (tokens - others));
    }
  }
  return pairs;
}

double forward_macs(const ModelConfig& config, int64_t tokens) {
  const ParameterCounts counts = count_parameters(config);
  const auto head = static_cast<double>(config.vocab_size * config.hidden_size);
  double pairs = 0;
  for (const AttentionKind kind : {AttentionKind::kFull, AttentionKind::kRing, AttentionKind::kSliding}) {
    const auto layers = std::count(config.attention.begin(), config.attention.end(), kind);
    if (layers > 0) pairs += static_cast<double>(layers) * attention_pairs(config, kind, tokens);
  }
  return static_cast<double>(tokens) * (static_cast<double>(counts.layer_macs) + head) +
         2.0 * pairs * static_cast<double>(config.query_size());
}

ModelConfig dense_twin(ModelConfig config) {
  config.sparsity = {};
  config.sharing = {};
  std::fill(config.attention.begin(), config.attention.end(), AttentionKind::kFull);
  return config;
}

int64_t cache_entries(const ModelConfig& config, AttentionKind kind, int64_t position) {
  if (config.attention_mode == AttentionMode::kBidirectional) return 0;
  if (kind != AttentionKind::kRing) return position;  // sliding layers keep what they no longer see, too
  const RingGeometry& ring = config.ring;
  const int64_t ring_slots = ring.window + ring.stride;
  const int64_t pages = ring.page_tokens() > 0 ? ring.chunk(position) : 0;
  const int64_t means = ring.select == GlobalSelect::kTopPages ? (pages + 1) / 2 : 0;
  return std::min(position, ring_slots) + ring.sink_tokens + pages * ring.page_tokens() + means;
}

int64_t cache_bytes(const ModelConfig& config, int64_t position, int64_t element_bytes) {
  int64_t entries = 0;
  for (const AttentionKind kind : config.attention) entries += cache_entries(config, kind, position);
  return entries * config.num_key_value_heads * config.head_dim * 2 * element_bytes;
}

}  // namespace ringflash
