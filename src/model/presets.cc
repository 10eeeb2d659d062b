#include "model/presets.h"

#include <cmath>

namespace ringflash {
namespace {

constexpr int64_t kShortTokens = 8192;

struct Shape {
  int64_t hidden, intermediate, layers, heads, key_value_heads, head_dim, vocab, sequence;
};

ModelConfig from_shape(const Shape& s) {
  ModelConfig c;
  c.vocab_size = s.vocab;
  c.hidden_size = s.hidden;
  c.intermediate_size = s.intermediate;
  c.num_hidden_layers = s.layers;
  c.num_attention_heads = s.heads;
  c.num_key_value_heads = s.key_value_heads;
  c.head_dim = s.head_dim;
  c.max_position_embeddings = s.sequence;
  // Embeddings are drawn small, as the tied head wants them; this brings the residual stream to unit scale.
  c.embedding_multiplier = std::sqrt(static_cast<double>(s.hidden));
  c.embedding_shift = s.hidden / 4;
  c.qk_norm = true;
  c.ring = ring_preset(s.sequence);
  c.attention.assign(s.layers, AttentionKind::kRing);
  return c;
}

}  // namespace

RingGeometry ring_preset(int64_t sequence_length) {
  RingGeometry ring;
  if (sequence_length > kShortTokens) {
    ring.window = 1024;
    ring.stride = 512;
    ring.global_ratio = 0.08;
  }
  return ring;
}

std::string ring_summary(const RingGeometry& ring) {
  std::string text = "window " + std::to_string(ring.window) + ", stride " + std::to_string(ring.stride) + ", " +
                     std::to_string(ring.page_tokens()) + " tokens of a chunk global";
  switch (ring.select) {
    case GlobalSelect::kAll:
      return text;
    case GlobalSelect::kTopPages:
      return text + ", the best " + std::to_string(ring.top_pages_factor) + " log2(chunks) pages chosen every " +
             std::to_string(ring.top_pages_run) + " tokens";
  }
  RF_UNREACHABLE();
}

std::string ring_preset_name(const RingGeometry& ring) {
  const auto is_preset_of = [&](int64_t tokens) {
    const RingGeometry preset = ring_preset(tokens);
    return ring.window == preset.window && ring.stride == preset.stride && ring.global_ratio == preset.global_ratio;
  };
  if (is_preset_of(kShortTokens)) return "up to " + std::to_string(kShortTokens) + " tokens";
  if (is_preset_of(kShortTokens + 1)) return "beyond " + std::to_string(kShortTokens) + " tokens";
  return "";
}

const std::vector<Preset>& presets() {
  static const std::vector<Preset> all = {
      {"tiny", "0.1 M parameters: for tests and for trying a pipeline out",
       from_shape({.hidden = 64, .intermediate = 128, .layers = 2, .heads = 2, .key_value_heads = 1,
                   .head_dim = 32, .vocab = 512, .sequence = 256})},
      {"nano", "5 M parameters: minutes on two cores",
       from_shape({.hidden = 256, .intermediate = 768, .layers = 6, .heads = 4, .key_value_heads = 2,
                   .head_dim = 64, .vocab = 4096, .sequence = 1024})},
      {"micro", "20 M parameters: hours on two cores",
       from_shape({.hidden = 512, .intermediate = 1408, .layers = 7, .heads = 8, .key_value_heads = 2,
                   .head_dim = 64, .vocab = 8192, .sequence = 2048})},
      {"small", "100 M parameters: a GPU, or a patient CPU",
       from_shape({.hidden = 768, .intermediate = 2560, .layers = 14, .heads = 12, .key_value_heads = 4,
                   .head_dim = 64, .vocab = 16384, .sequence = 4096})},
  };
  return all;
}

Result<ModelConfig> preset_config(const std::string& name) {
  std::string names;
  for (const Preset& preset : presets()) {
    if (preset.name == name) return preset.config;
    names += (names.empty() ? "" : ", ") + preset.name;
  }
  return Error{"there is no preset '" + name + "'; the presets are " + names};
}

}  // namespace ringflash
