#include "format/config_json.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "base/in_quotes.h"
#include "format/json_text.h"
#include "format/rope_scaling_json.h"
#include "model/presets.h"

namespace ringflash {
namespace {

using nlohmann::json;

enum class Need { kRequired, kOptional };

/// Shows each field of a config to `visit(key, field, need)`: what is written, what is read and what is known
/// is this one list. A null stands for an absent optional key, as Hugging Face writes it.
template <typename Config, typename Visitor>
void visit_fields(Config& c, Visitor&& visit) {
  visit("vocab_size", c.vocab_size, Need::kRequired);
  visit("hidden_size", c.hidden_size, Need::kRequired);
  visit("intermediate_size", c.intermediate_size, Need::kRequired);
  visit("num_hidden_layers", c.num_hidden_layers, Need::kRequired);
  visit("num_attention_heads", c.num_attention_heads, Need::kRequired);
  visit("num_key_value_heads", c.num_key_value_heads, Need::kOptional);
  visit("head_dim", c.head_dim, Need::kOptional);
  visit("max_position_embeddings", c.max_position_embeddings, Need::kRequired);
  visit("rms_norm_eps", c.rms_norm_eps, Need::kOptional);
  visit("rope_theta", c.rope_theta, Need::kOptional);
  visit("rope_scaling", c.rope_scaling, Need::kOptional);
  visit("embedding_multiplier", c.embedding_multiplier, Need::kOptional);
  visit("embedding_shift", c.embedding_shift, Need::kOptional);
  visit("hidden_act", c.hidden_act, Need::kOptional);
  visit("attention_bias", c.attention_bias, Need::kOptional);
  visit("qk_norm", c.qk_norm, Need::kOptional);
  visit("post_norms", c.post_norms, Need::kOptional);
  visit("tie_word_embeddings", c.tie_word_embeddings, Need::kOptional);
  visit("bos_token_id", c.bos_token_id, Need::kOptional);
  visit("eos_token_id", c.eos_token_id, Need::kOptional);
  visit("window", c.ring.window, Need::kOptional);
  visit("stride", c.ring.stride, Need::kOptional);
  visit("global_ratio", c.ring.global_ratio, Need::kOptional);
  visit("sink_tokens", c.ring.sink_tokens, Need::kOptional);
  visit("global_rope", c.ring.global_rope, Need::kOptional);
  visit("global_select", c.ring.select, Need::kOptional);
  visit("top_pages_factor", c.ring.top_pages_factor, Need::kOptional);
  visit("top_pages_run", c.ring.top_pages_run, Need::kOptional);
  visit("attention", c.attention, Need::kOptional);
  visit("sliding_window", c.sliding_window, Need::kOptional);
  visit("rope_local_base_freq", c.rope_local_base_freq, Need::kOptional);
  visit("attention_mode", c.attention_mode, Need::kOptional);
  visit("sparsity", c.sparsity.pattern, Need::kOptional);
  visit("sparsity_keep", c.sparsity.keep, Need::kOptional);
  visit("weight_bits", c.sparsity.weight_bits, Need::kOptional);
  visit("sparsity_exceptions", c.sparsity.exceptions, Need::kOptional);
  visit("sharing_group_size", c.sharing.group_size, Need::kOptional);
  visit("sharing_kinds", c.sharing.kinds, Need::kOptional);
  visit("sharing_rank", c.sharing.rank, Need::kOptional);
}

constexpr const char* kModelType = "model_type";

/// Llama keys that change nothing in the arithmetic of a trained model at inference.
constexpr const char* kIgnored[] = {"_name_or_path",  "architectures",     "attention_dropout",
                                    "dtype",          "initializer_range", "pad_token_id",
                                    "pretraining_tp", "torch_dtype",       "transformers_version",
                                    "use_cache"};

/// Llama keys that would change it: accepted with the one value that stands for what we compute.
const std::vector<std::pair<std::string, json>>& fixed_keys() {
  static const std::vector<std::pair<std::string, json>> keys = {
      {"mlp_bias", false}};
  return keys;
}

std::vector<std::string> known_keys() {
  std::vector<std::string> keys(std::begin(kIgnored), std::end(kIgnored));
  keys.emplace_back(kModelType);
  for (const auto& [key, value] : fixed_keys()) keys.push_back(key);
  const ModelConfig config;
  visit_fields(config, [&](const char* key, const auto&, Need) { keys.emplace_back(key); });
  return keys;
}

/// Levenshtein's distance: single-character insertions, deletions and replacements from a to b.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

Error unknown_key(const std::string& key, const std::vector<std::string>& known) {
  constexpr size_t kTypo = 2;
  std::string nearest;
  size_t least = kTypo + 1;
  for (const std::string& candidate : known) {
    if (key.size() > candidate.size() + kTypo) continue;
    const size_t distance = edit_distance(key, candidate);
    if (distance < least) std::tie(least, nearest) = std::tie(distance, candidate);
  }
  return Error{"unknown key " + in_quotes(key) + (least <= kTypo ? "; did you mean '" + nearest + "'?" : "")};
}

Status check_keys(const json& root) {
  const std::vector<std::string> known = known_keys();
  for (const auto& [key, value] : root.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end()) return unknown_key(key, known);
  }
  for (const auto& [key, expected] : fixed_keys()) {
    const auto it = root.find(key);
    if (it != root.end() && *it != expected) {
      return Error{"'" + key + "' must be " + show(expected) + ", found " + show(*it)};
    }
  }
  return {};
}

/// Reads field after field until the first error.
struct FieldReader {
  const json& root;
  Status status = {};

  template <typename Field>
  void operator()(const char* key, Field& field, Need need) {
    if (!status) return;
    const auto it = root.find(key);
    if (it != root.end() && !(it->is_null() && need == Need::kOptional)) {
      status = read(key, *it, field);
    } else if (need == Need::kRequired) {
      status = Error{std::string("'") + key + "' is missing"};
    }
  }

  static Error wrong(const char* key, const char* expected, const json& found) {
    return Error{std::string("'") + key + "' must be " + expected + ", found " + show(found)};
  }
  static Status read(const char* key, const json& value, int64_t& field) {
    const bool too_large = value.is_number_unsigned() && !std::in_range<int64_t>(value.get<uint64_t>());
    if (!value.is_number_integer() || too_large) return wrong(key, "an integer", value);
    return field = value.get<int64_t>(), Status();
  }
  static Status read(const char* key, const json& value, double& field) {
    if (!value.is_number()) return wrong(key, "a number", value);
    return field = value.get<double>(), Status();
  }
  static Status read(const char* key, const json& value, bool& field) {
    if (!value.is_boolean()) return wrong(key, "true or false", value);
    return field = value.get<bool>(), Status();
  }
  static Status read(const char* key, const json& value, GlobalSelect& field) {
    if (!value.is_string()) return wrong(key, "a string", value);
    RF_TRY(field, parse_global_select(value.get<std::string>()));
    return {};
  }
  static Status read(const char* key, const json& value, AttentionMode& field) {
    if (!value.is_string()) return wrong(key, "a string", value);
    RF_TRY(field, parse_attention_mode(value.get<std::string>()));
    return {};
  }
  static Status read(const char* key, const json& value, Activation& field) {
    if (!value.is_string()) return wrong(key, "a string", value);
    RF_TRY(field, parse_activation(value.get<std::string>()));
    return {};
  }
  static Status read(const char*, const json& value, RopeScaling& field) {
    RF_TRY(field, rope_scaling_from_json(value));
    return {};
  }
  static Status read(const char* key, const json& value, SparsePattern& field) {
    if (!value.is_string()) return wrong(key, "a string", value);
    RF_TRY(field, parse_sparse_pattern(value.get<std::string>()));
    return {};
  }
  static Status read(const char* key, const json& value, std::vector<std::string>& field) {
    if (!value.is_array()) return wrong(key, "a list of strings", value);
    field.clear();
    for (const json& item : value) {
      if (!item.is_string()) return wrong(key, "a list of strings", item);
      field.push_back(item.get<std::string>());
    }
    return {};
  }
  /// A list with one kind per layer, or the one kind of all layers, which fill_defaults() repeats.
  Status read(const char* key, const json& value, std::vector<AttentionKind>& kinds) const {
    if (!value.is_string() && !value.is_array()) return wrong(key, "a string or a list of strings", value);
    for (const json& item : value.is_string() ? json::array({value}) : value) {
      if (!item.is_string()) return wrong(key, "a list of strings", item);
      RF_TRY(const AttentionKind kind, parse_attention_kind(item.get<std::string>()));
      kinds.push_back(kind);
    }
    return {};
  }
};

bool is_absent(const json& root, const char* key) {
  const auto it = root.find(key);
  return it == root.end() || it->is_null();
}

void fill_ring_defaults(const json& root, ModelConfig& c) {
  const RingGeometry preset = ring_preset(c.max_position_embeddings);
  if (is_absent(root, "window")) c.ring.window = preset.window;
  if (is_absent(root, "stride")) c.ring.stride = preset.stride;
  if (is_absent(root, "global_ratio")) c.ring.global_ratio = preset.global_ratio;
}

/// What a key that is absent means where that depends on other keys.
Status fill_defaults(const json& root, ModelConfig& c, AttentionKind absent) {
  if (c.num_key_value_heads == 0) c.num_key_value_heads = c.num_attention_heads;
  if (c.head_dim == 0 && c.num_attention_heads > 0) {
    if (c.hidden_size % c.num_attention_heads != 0) {
      return Error{"'hidden_size' must be a multiple of num_attention_heads (" +
                   std::to_string(c.num_attention_heads) + ") where head_dim is not given, found " +
                   std::to_string(c.hidden_size)};
    }
    c.head_dim = c.hidden_size / c.num_attention_heads;
  }
  fill_ring_defaults(root, c);
  const bool given = !is_absent(root, "attention");
  if (given && root["attention"].is_array()) return {};
  const AttentionKind kind = given ? c.attention.front() : absent;
  // Impossible numbers of layers are left to validate().
  if (c.num_hidden_layers > 0 && c.num_hidden_layers <= kMaxLayers)
    c.attention.assign(c.num_hidden_layers, kind);
  return {};
}

struct FieldWriter {
  nlohmann::ordered_json& root;

  template <typename Field>
  void operator()(const char* key, const Field& field, Need) {
    if constexpr (std::is_arithmetic_v<Field>) {
      root[key] = field;
    } else if constexpr (std::is_enum_v<Field>) {
      root[key] = to_string(field);
    } else if constexpr (std::is_same_v<Field, RopeScaling>) {
      root[key] = rope_scaling_to_json(field);
    } else if constexpr (std::is_same_v<Field, std::vector<std::string>>) {
      root[key] = field;
    } else {
      root[key] = json::array();
      for (const AttentionKind kind : field) root[key].push_back(to_string(kind));
    }
  }
};

}  // namespace

Result<ModelConfig> config_from_json(std::string_view text, int64_t least_positions) {
  RF_TRY(const json root, parse_json(text));
  if (!root.is_object()) return Error{"expected a JSON object, found " + show(root)};
  RF_TRY_VOID(check_keys(root));
  const json model_type = root.value(kModelType, json("ringflash"));
  if (model_type != "ringflash" && model_type != "llama") {
    return Error{"'model_type' must be \"ringflash\" or \"llama\", found " + show(model_type)};
  }
  const bool llama = model_type == "llama";
  ModelConfig config;
  if (llama) {  // what Hugging Face's LlamaConfig takes for an absent key
    config.rms_norm_eps = 1e-6;
    config.tie_word_embeddings = false;
  }
  FieldReader reader{root};
  visit_fields(config, reader);
  RF_TRY_VOID(reader.status);
  if (llama && config.attention_bias) {
    return Error{"'attention_bias' must be false in a Llama config (there o_proj has a bias as well), found true"};
  }
  if (config.max_position_embeddings > 0) {  // validate() tells of other numbers
    config.max_position_embeddings = std::max(config.max_position_embeddings, least_positions);
  }
  RF_TRY_VOID(fill_defaults(root, config, llama ? AttentionKind::kFull : AttentionKind::kRing));
  RF_TRY_VOID(validate(config));
  return config;
}

std::string config_to_json(const ModelConfig& config) {
  nlohmann::ordered_json root;
  root[kModelType] = "ringflash";
  visit_fields(config, FieldWriter{root});
  return root.dump(2) + "\n";
}

}  // namespace ringflash
