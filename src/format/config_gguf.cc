#include "format/config_gguf.h"

#include <limits>
#include <string>

#include "base/in_quotes.h"
#include "format/gguf_values.h"

namespace ringflash {
namespace {

constexpr const char* kPrefix = "ringflash.";

enum class Need { kRequired, kOptional };

/// The keys of other GGUF files where they have one.
template <typename Scaling, typename Visitor>
void visit_rope_scaling(Scaling& s, Visitor& visit) {
  visit("rope.scaling.type", s.type, Need::kOptional);
  visit("rope.scaling.factor", s.factor, Need::kOptional);
  visit("rope.scaling.original_context_length", s.original_positions, Need::kOptional);
  visit("rope.scaling.low_freq_factor", s.low_freq_factor, Need::kOptional);
  visit("rope.scaling.high_freq_factor", s.high_freq_factor, Need::kOptional);
  visit("rope.scaling.yarn_beta_fast", s.beta_fast, Need::kOptional);
  visit("rope.scaling.yarn_beta_slow", s.beta_slow, Need::kOptional);
  visit("rope.scaling.attention_factor", s.attention_factor, Need::kOptional);
}

/// Shows each field of a config to `visit(key, field, need)`: what is written and what is read is this one
/// list. Optional are the keys that were added later: older files lack them.
template <typename Config, typename Visitor>
void visit_fields(Config& c, Visitor&& visit) {
  visit("vocab_size", c.vocab_size);
  visit("embedding_length", c.hidden_size);
  visit("feed_forward_length", c.intermediate_size);
  visit("block_count", c.num_hidden_layers);
  visit("attention.head_count", c.num_attention_heads);
  visit("attention.head_count_kv", c.num_key_value_heads);
  visit("attention.key_length", c.head_dim);
  visit("context_length", c.max_position_embeddings);
  visit("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  visit("rope.freq_base", c.rope_theta);
  visit_rope_scaling(c.rope_scaling, visit);
  visit("embedding_multiplier", c.embedding_multiplier);
  visit("embedding_shift", c.embedding_shift, Need::kOptional);
  visit("activation", c.hidden_act, Need::kOptional);
  visit("attention.bias", c.attention_bias, Need::kOptional);
  visit("attention.qk_norm", c.qk_norm, Need::kOptional);
  visit("post_norms", c.post_norms, Need::kOptional);
  visit("tie_word_embeddings", c.tie_word_embeddings);
  visit("ring.window", c.ring.window);
  visit("ring.stride", c.ring.stride);
  visit("ring.global_ratio", c.ring.global_ratio);
  visit("ring.sink_tokens", c.ring.sink_tokens);
  visit("ring.global_rope", c.ring.global_rope);
  visit("ring.global_select", c.ring.select);
  visit("ring.top_pages_factor", c.ring.top_pages_factor, Need::kOptional);
  visit("ring.top_pages_run", c.ring.top_pages_run, Need::kOptional);
  visit("attention.kinds", c.attention);
  visit("attention.sliding_window", c.sliding_window, Need::kOptional);
  visit("rope.freq_base_swa", c.rope_local_base_freq, Need::kOptional);
  visit("attention.mode", c.attention_mode, Need::kOptional);
  visit("sparsity.pattern", c.sparsity.pattern, Need::kOptional);
  visit("sparsity.keep", c.sparsity.keep, Need::kOptional);
  visit("sparsity.weight_bits", c.sparsity.weight_bits, Need::kOptional);
  visit("sparsity.exceptions", c.sparsity.exceptions, Need::kOptional);
  visit("sharing.group_size", c.sharing.group_size, Need::kOptional);
  visit("sharing.kinds", c.sharing.kinds, Need::kOptional);
  visit("sharing.rank", c.sharing.rank, Need::kOptional);
}

struct FieldWriter {
  GgufWriter& writer;

  template <typename Field>
  void operator()(const std::string& key, const Field& field, Need = Need::kRequired) {
    writer.set(kPrefix + key, value(field));
  }

  static GgufValue value(int64_t field) { return integer_value(field); }
  static GgufValue value(double field) { return field; }
  static GgufValue value(bool field) { return field; }
  static GgufValue value(GlobalSelect field) { return to_string(field); }
  static GgufValue value(AttentionMode field) { return to_string(field); }
  static GgufValue value(SparsePattern field) { return to_string(field); }
  static GgufValue value(Activation field) { return to_string(field); }
  static GgufValue value(RopeScalingType field) { return to_string(field); }
  static GgufValue value(const std::vector<std::string>& texts) { return GgufArray(texts); }
  static GgufValue value(const std::vector<AttentionKind>& kinds) {
    std::vector<std::string> names;
    for (const AttentionKind kind : kinds) names.push_back(to_string(kind));
    return GgufArray(std::move(names));
  }
};

/// Reads field after field until the first error.
struct FieldReader {
  const GgufFile& file;
  Status status = {};

  template <typename Field>
  void operator()(const std::string& key, Field& field, Need need = Need::kRequired) {
    const std::string full = kPrefix + key;
    if (need == Need::kOptional && !file.metadata().contains(full)) return;
    if (status) status = read(full, field);
  }

  Status read(const std::string& key, int64_t& field) { return assign(file.integer(key), field); }
  Status read(const std::string& key, double& field) { return assign(file.number(key), field); }
  Status read(const std::string& key, bool& field) { return assign(file.boolean(key), field); }
  Status read(const std::string& key, GlobalSelect& field) {
    RF_TRY(const std::string name, file.text(key));
    return assign(named(parse_global_select(name)), field);
  }
  Status read(const std::string& key, AttentionMode& field) {
    RF_TRY(const std::string name, file.text(key));
    return assign(named(parse_attention_mode(name)), field);
  }
  Status read(const std::string& key, SparsePattern& field) {
    RF_TRY(const std::string name, file.text(key));
    return assign(named(parse_sparse_pattern(name)), field);
  }
  Status read(const std::string& key, Activation& field) {
    RF_TRY(const std::string name, file.text(key));
    return assign(named(parse_activation(name)), field);
  }
  Status read(const std::string& key, RopeScalingType& field) {
    RF_TRY(const std::string name, file.text(key));
    return assign(named(parse_rope_scaling_type(name)), field);
  }
  Status read(const std::string& key, std::vector<std::string>& field) {
    return assign(typed_array<std::string>(file, key, "strings"), field);
  }
  Status read(const std::string& key, std::vector<AttentionKind>& kinds) {
    RF_TRY(const auto names, typed_array<std::string>(file, key, "strings"));
    for (const std::string& name : names) {
      RF_TRY(const AttentionKind kind, named(parse_attention_kind(name)));
      kinds.push_back(kind);
    }
    return {};
  }

  /// With the file's name in an error that lacks it.
  template <typename T>
  Result<T> named(Result<T> result) const {
    if (!result) return result.error().in(file.path().string());
    return result;
  }
  template <typename T>
  static Status assign(Result<T> value, T& field) {
    if (!value) return value.error();
    field = std::move(value).value();
    return {};
  }
};

}  // namespace

void write_config(const ModelConfig& config, GgufWriter& writer) {
  writer.set("general.architecture", std::string("ringflash"));
  visit_fields(config, FieldWriter{writer});
  writer.set("tokenizer.ggml.bos_token_id", integer_value(config.bos_token_id));
  writer.set("tokenizer.ggml.eos_token_id", integer_value(config.eos_token_id));
}

Result<ModelConfig> read_config(const GgufFile& file) {
  RF_TRY(const std::string architecture, file.text("general.architecture"));
  if (architecture != "ringflash") {
    return Error{file.path().string() + ": 'general.architecture' must be 'ringflash', found " + in_quotes(architecture) +
                 "; ringflash import makes a checkpoint of other models, and ringflash export a file of that"};
  }
  ModelConfig config;
  FieldReader reader{file};
  visit_fields(config, reader);
  RF_TRY_VOID(reader.status);
  RF_TRY(config.bos_token_id, file.integer("tokenizer.ggml.bos_token_id"));
  RF_TRY(config.eos_token_id, file.integer("tokenizer.ggml.eos_token_id"));
  if (Status status = validate(config); !status) return status.error().in(file.path().string());
  return config;
}

}  // namespace ringflash
