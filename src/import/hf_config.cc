#include "import/hf_config.h"

#include <algorithm>
#include <cmath>

#include "base/in_quotes.h"
#include "format/config_json.h"
#include "format/json_text.h"

namespace ringflash {
namespace {

using nlohmann::json;

/// Keys that mean the same in our config.json.
constexpr const char* kSame[] = {"vocab_size",          "hidden_size",         "intermediate_size",
                                 "num_hidden_layers",   "num_attention_heads", "num_key_value_heads",
                                 "head_dim",            "rms_norm_eps",        "rope_theta",
                                 "rope_scaling",        "bos_token_id",        "tie_word_embeddings",
                                 "max_position_embeddings"};

/// Keys of variants that are not computed, with the value that switches each off. An absent key and null do so, too.
const std::vector<std::pair<const char*, json>>& switched_off() {
  static const std::vector<std::pair<const char*, json>> keys = {{"mlp_bias", false},
                                                                 {"rope_interleaved", false},
                                                                 {"use_bidirectional_attention", false},
                                                                 {"partial_rotary_factor", 1.0},
                                                                 {"quantization_config", nullptr},
                                                                 {"attn_logit_softcapping", nullptr},
                                                                 {"final_logit_softcapping", nullptr}};
  return keys;
}

/// What transformers takes for keys that Gemma3TextConfig leaves out.
json gemma_defaults() {
  return {{"vocab_size", 262208},
          {"hidden_size", 2304},
          {"intermediate_size", 9216},
          {"num_hidden_layers", 26},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 4},
          {"head_dim", 256},
          {"rms_norm_eps", 1e-6},
          {"rope_theta", 1e6},
          {"rope_local_base_freq", 1e4},
          {"max_position_embeddings", 131072},
          {"query_pre_attn_scalar", 256},
          {"sliding_window", 4096},
          {"sliding_window_pattern", 6},
          {"hidden_activation", "gelu_pytorch_tanh"},
          {"bos_token_id", 2},
          {"eos_token_id", 1},
          {"tie_word_embeddings", true}};
}

/// And for those that MistralConfig does, where llama has others.
json mistral_defaults() {
  return {{"intermediate_size", 14336},
          {"num_key_value_heads", 8},
          {"max_position_embeddings", 131072},
          {"sliding_window", 4096}};
}

Error wrong(const std::string& key, const std::string& expected, const json& found) {
  return Error{"'" + key + "' must be " + expected + ", found " + show(found)};
}

json get(const json& object, const char* key) { return object.value(key, json(nullptr)); }

/// Newer files keep theta and the scaling together in rope_parameters, for Gemma once for each kind of layer.
Status split_rope_parameters(json& root) {
  json parameters = get(root, "rope_parameters");
  if (parameters.is_null()) return {};
  if (!parameters.is_object()) return wrong("rope_parameters", "an object", parameters);
  if (parameters.contains("full_attention")) {
    const json local = get(parameters, "sliding_attention");
    if (local.is_object() && local.contains("rope_theta")) root["rope_local_base_freq"] = local["rope_theta"];
    parameters = json(parameters["full_attention"]);
    if (!parameters.is_object()) return wrong("rope_parameters.full_attention", "an object", parameters);
  }
  if (parameters.contains("rope_theta")) root["rope_theta"] = parameters["rope_theta"];
  if (parameters.contains("rope_type")) root["rope_scaling"] = parameters;
  return {};
}

/// One kind for each layer: layer_types, or else what `slides` says of a layer.
template <typename Slides>
Result<json> attention_kinds(const json& root, Slides slides) {
  json kinds = json::array();
  const json types = get(root, "layer_types");
  if (types.is_array()) {
    for (const json& type : types) {
      if (type != "full_attention" && type != "sliding_attention") {
        return wrong("layer_types", "a list of \"full_attention\" and \"sliding_attention\"", type);
      }
      kinds.push_back(type == "full_attention" ? "full" : "sliding");
    }
    return kinds;
  }
  const json layers = get(root, "num_hidden_layers");
  if (!layers.is_number_integer()) return wrong("num_hidden_layers", "an integer", layers);
  for (int64_t layer = 0; layer < std::min(layers.get<int64_t>(), kMaxLayers); ++layer) {
    kinds.push_back(slides(layer) ? "sliding" : "full");
  }
  return kinds;
}

Result<int64_t> integer(const json& root, const char* key) {
  const json value = get(root, key);
  if (!value.is_number_integer()) return wrong(key, "an integer", value);
  return value.get<int64_t>();
}

/// Qwen's layers from max_window_layers on slide, where that is switched on.
Status add_qwen_attention(const json& root, json& ours) {
  const bool used = get(root, "use_sliding_window") == true;
  int64_t full_layers = kMaxLayers;
  if (used) {
    RF_TRY(full_layers, integer(root, "max_window_layers"));
    ours["sliding_window"] = get(root, "sliding_window");
  }
  if (!used) return ours["attention"] = "full", Status();
  RF_TRY(ours["attention"], attention_kinds(root, [&](int64_t layer) { return layer >= full_layers; }));
  return {};
}

/// All of Mistral's layers slide, unless the window is null.
Status add_mistral_attention(const json& root, json& ours) {
  const json window = get(root, "sliding_window");
  if (window.is_null()) return ours["attention"] = "full", Status();
  ours["sliding_window"] = window;
  RF_TRY(ours["attention"], attention_kinds(root, [](int64_t) { return true; }));
  return {};
}

Status add_gemma(const json& root, json& ours) {
  RF_TRY(const int64_t pattern, integer(root, "sliding_window_pattern"));
  RF_TRY(ours["attention"],
         attention_kinds(root, [&](int64_t layer) { return pattern < 1 || (layer + 1) % pattern != 0; }));
  ours["sliding_window"] = root["sliding_window"];
  ours["rope_local_base_freq"] = root["rope_local_base_freq"];
  ours["hidden_act"] = root["hidden_activation"];
  ours["post_norms"] = ours["qk_norm"] = true;
  RF_TRY(const int64_t width, integer(root, "hidden_size"));
  ours["embedding_multiplier"] = std::sqrt(static_cast<double>(width));
  return {};
}

/// Several end-of-text ids stand in a list; the model's own is the first. Where there is no begin, the end stands for
/// it: nothing puts it before a text.
Status add_token_ids(const json& root, json& ours) {
  json end = get(root, "eos_token_id");
  if (end.is_array() && !end.empty()) end = json(end.front());
  if (!end.is_number_integer()) return wrong("eos_token_id", "an integer, or a list of them", end);
  ours["eos_token_id"] = end;
  if (get(root, "bos_token_id").is_null()) ours["bos_token_id"] = end;
  return {};
}

Status refuse_variants(const json& root, const std::string& model_type) {
  for (const auto& [key, off] : switched_off()) {
    const json found = get(root, key);
    if (!found.is_null() && found != off) return wrong(key, show(off), found);
  }
  const json bias = get(root, "attention_bias");
  if (model_type != "qwen2" && bias == true) return wrong("attention_bias", "false", bias);
  return {};
}

}  // namespace

Result<HfConfig> read_hf_config(std::string_view text) {
  RF_TRY(json root, parse_json(text));
  if (!root.is_object()) return wrong("config.json", "a JSON object", root);
  if (get(root, "model_type") == "gemma3" && get(root, "text_config").is_object()) root = json(root["text_config"]);
  const json type = get(root, "model_type");
  HfConfig result{.model_type = type.is_string() ? type.get<std::string>() : "", .config = {}};
  const bool qwen = type == "qwen2" || type == "qwen3";
  result.gemma = type == "gemma3_text";
  const bool mistral = type == "mistral";
  if (type != "llama" && !mistral && !qwen && !result.gemma) {
    return wrong("model_type", "\"llama\", \"mistral\", \"qwen2\", \"qwen3\", \"gemma3_text\" or \"gemma3\"", type);
  }
  RF_TRY_VOID(split_rope_parameters(root));
  if (result.gemma || mistral) {
    json complete = result.gemma ? gemma_defaults() : mistral_defaults();
    complete.update(root);
    root = std::move(complete);
  }
  RF_TRY_VOID(refuse_variants(root, result.model_type));
  json ours = {{"model_type", "llama"}};  // whose defaults are the others', too
  for (const char* key : kSame) {
    if (root.contains(key)) ours[key] = root[key];
  }
  RF_TRY_VOID(add_token_ids(root, ours));
  if (result.gemma) {
    RF_TRY_VOID(add_gemma(root, ours));
    const json scalar = root["query_pre_attn_scalar"];
    if (!scalar.is_number() || !(scalar > 0)) return wrong("query_pre_attn_scalar", "above 0", scalar);
    result.query_pre_attn_scalar = scalar.get<double>();
  } else {
    if (root.contains("hidden_act")) ours["hidden_act"] = root["hidden_act"];
  }
  if (mistral) RF_TRY_VOID(add_mistral_attention(root, ours));
  if (qwen) {
    RF_TRY_VOID(add_qwen_attention(root, ours));
    ours["qk_norm"] = type == "qwen3";
  }
  RF_TRY(result.config, config_from_json(ours.dump()));
  result.config.attention_bias = type == "qwen2";
  return result;
}

}  // namespace ringflash
