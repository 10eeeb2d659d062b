#include "model/config.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/in_quotes.h"

namespace ringflash {
namespace {

constexpr int64_t kMaxDimension = int64_t{1} << 24;
constexpr int64_t kMaxTopPagesFactor = 4096;

Error wrong(const std::string& key, const std::string& expected, const std::string& found) {
  return Error{"'" + key + "' must be " + expected + ", found " + found};
}

Error wrong(const std::string& key, const std::string& expected, int64_t found) {
  return wrong(key, expected, std::to_string(found));
}

Error wrong(const std::string& key, const std::string& expected, double found) {
  return wrong(key, expected, std::to_string(found));
}

Status check_range(const char* key, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return wrong(key, "between " + std::to_string(low) + " and " + std::to_string(high), value);
}

Status check_sizes(const ModelConfig& c) {
  const std::pair<const char*, int64_t> sizes[] = {
      {"vocab_size", c.vocab_size},
      {"hidden_size", c.hidden_size},
      {"intermediate_size", c.intermediate_size},
      {"num_attention_heads", c.num_attention_heads},
      {"num_key_value_heads", c.num_key_value_heads},
      {"head_dim", c.head_dim},
  };
  for (const auto& [key, value] : sizes) RF_TRY_VOID(check_range(key, value, 1, kMaxDimension));
  RF_TRY_VOID(check_range("num_hidden_layers", c.num_hidden_layers, 1, kMaxLayers));
  RF_TRY_VOID(check_range("max_position_embeddings", c.max_position_embeddings, 1, int64_t{1} << 40));
  RF_TRY_VOID(check_range("num_attention_heads", c.num_attention_heads, 1, 65536));
  RF_TRY_VOID(check_range("head_dim", c.head_dim, 2, 1024));
  RF_TRY_VOID(check_range("embedding_shift", c.embedding_shift, 0, c.hidden_size));
  RF_TRY_VOID(check_range("bos_token_id", c.bos_token_id, 0, c.vocab_size - 1));
  return check_range("eos_token_id", c.eos_token_id, 0, c.vocab_size - 1);
}

Status check_shapes(const ModelConfig& c) {
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    return wrong("num_attention_heads",
                 "a multiple of num_key_value_heads (" + std::to_string(c.num_key_value_heads) + ")",
                 c.num_attention_heads);
  }
  if (c.head_dim % 2 != 0) return wrong("head_dim", "even, for the rotary embedding", c.head_dim);
  if (static_cast<int64_t>(c.attention.size()) != c.num_hidden_layers) {
    return wrong("attention", "a list of one entry per layer (" + std::to_string(c.num_hidden_layers) + ")",
                 std::to_string(c.attention.size()) + " entries");
  }
  return {};
}

Status check_sliding(const ModelConfig& c) {
  if (!c.has_layers(AttentionKind::kSliding)) return {};
  if (c.attention_mode == AttentionMode::kBidirectional) {
    return wrong("attention", "\"ring\" or \"full\" in a bidirectional model", "\"sliding\"");
  }
  RF_TRY_VOID(check_range("sliding_window", c.sliding_window, 1, kMaxDimension));
  const double theta = c.rope_local_base_freq;
  if (theta == 0 || (theta >= 1 && theta <= 1e12)) return {};
  return wrong("rope_local_base_freq", "0 or in [1, 1e12]", theta);
}

Status check_scalars(const ModelConfig& c) {
  if (!(c.rms_norm_eps > 0 && c.rms_norm_eps < 1)) return wrong("rms_norm_eps", "in (0, 1)", c.rms_norm_eps);
  if (!(c.rope_theta >= 1 && c.rope_theta <= 1e12)) return wrong("rope_theta", "in [1, 1e12]", c.rope_theta);
  if (!(std::abs(c.embedding_multiplier) > 0 && std::abs(c.embedding_multiplier) < 1e6)) {
    return wrong("embedding_multiplier", "a finite number other than 0", c.embedding_multiplier);
  }
  return {};
}

Status check_ring(const RingGeometry& r) {
  RF_TRY_VOID(check_range("stride", r.stride, 1, kMaxDimension));
  RF_TRY_VOID(check_range("window", r.window, 1, kMaxDimension));
  if (r.window % r.stride != 0) {
    return wrong("window", "a multiple of stride (" + std::to_string(r.stride) + ")", r.window);
  }
  if (!(r.global_ratio >= 0 && r.global_ratio <= 1))
    return wrong("global_ratio", "in [0, 1]", r.global_ratio);
  RF_TRY_VOID(check_range("sink_tokens", r.sink_tokens, 0, r.stride));
  RF_TRY_VOID(check_range("top_pages_factor", r.top_pages_factor, 1, kMaxTopPagesFactor));
  // Where all pages are read, the default may well be longer than a short chunk.
  const bool runs = r.select == GlobalSelect::kTopPages;
  return check_range("top_pages_run", r.top_pages_run, 1, runs ? r.stride : kMaxDimension);
}

}  // namespace

std::string to_string(AttentionKind kind) {
  switch (kind) {
    case AttentionKind::kFull:
      return "full";
    case AttentionKind::kRing:
      return "ring";
    case AttentionKind::kSliding:
      return "sliding";
  }
  RF_UNREACHABLE();
}

std::string to_string(GlobalSelect select) {
  switch (select) {
    case GlobalSelect::kAll:
      return "all";
    case GlobalSelect::kTopPages:
      return "top_pages";
  }
  RF_UNREACHABLE();
}

std::string to_string(AttentionMode mode) {
  switch (mode) {
    case AttentionMode::kCausal:
      return "causal";
    case AttentionMode::kBidirectional:
      return "bidirectional";
  }
  RF_UNREACHABLE();
}

std::string to_string(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGeluTanh:
      return "gelu_pytorch_tanh";
  }
  RF_UNREACHABLE();
}

Result<AttentionKind> parse_attention_kind(const std::string& text) {
  if (text == "full") return AttentionKind::kFull;
  if (text == "ring") return AttentionKind::kRing;
  if (text == "sliding") return AttentionKind::kSliding;
  return wrong("attention", "\"ring\", \"full\" or \"sliding\"", in_quotes(text));
}

Result<GlobalSelect> parse_global_select(const std::string& text) {
  if (text == "all") return GlobalSelect::kAll;
  if (text == "top_pages") return GlobalSelect::kTopPages;
  return wrong("global_select", "\"all\" or \"top_pages\"", in_quotes(text));
}

Result<AttentionMode> parse_attention_mode(const std::string& text) {
  if (text == "causal") return AttentionMode::kCausal;
  if (text == "bidirectional") return AttentionMode::kBidirectional;
  return wrong("attention_mode", "\"causal\" or \"bidirectional\"", in_quotes(text));
}

Result<Activation> parse_activation(const std::string& text) {
  if (text == "silu") return Activation::kSilu;
  if (text == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  return wrong("hidden_act", "\"silu\" or \"gelu_pytorch_tanh\"", in_quotes(text));
}

int64_t RingGeometry::page_budget(int64_t chunks) const {
  // ceil(log2 C) is the bit width of C - 1.
  return top_pages_factor * std::bit_width(static_cast<uint64_t>(std::max<int64_t>(chunks - 1, 0)));
}

int64_t RingGeometry::page_tokens() const {
  // The small slack keeps 0.05 * 60 = 3.0000000000000004 from becoming 4.
  return static_cast<int64_t>(std::ceil(global_ratio * static_cast<double>(stride) - 1e-9));
}

bool ModelConfig::has_router(int64_t layer) const {
  return attention[layer] == AttentionKind::kRing && ring.page_tokens() > 0;
}

bool ModelConfig::has_layers(AttentionKind kind) const {
  return std::find(attention.begin(), attention.end(), kind) != attention.end();
}

RopeParameters ModelConfig::rope(AttentionKind kind) const {
  if (kind == AttentionKind::kSliding && rope_local_base_freq != 0) return {.theta = rope_local_base_freq};
  return {.theta = rope_theta, .scaling = rope_scaling};
}

Status validate(const ModelConfig& config) {
  RF_TRY_VOID(check_sizes(config));
  RF_TRY_VOID(check_shapes(config));
  RF_TRY_VOID(check_scalars(config));
  RF_TRY_VOID(check_sliding(config));
  RF_TRY_VOID(validate(config.rope_scaling));
  RF_TRY_VOID(check_ring(config.ring));
  RF_TRY_VOID(validate(config.sharing, config.hidden_size));
  return validate(config.sparsity);
}

Status require_causal(const ModelConfig& config, const std::string& purpose) {
  if (config.attention_mode == AttentionMode::kCausal) return {};
  return wrong("attention_mode", "\"causal\" " + purpose, in_quotes(to_string(config.attention_mode)));
}

}  // namespace ringflash
