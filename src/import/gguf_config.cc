#include "import/gguf_config.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/in_quotes.h"
#include "format/dequantize.h"
#include "kernels/rope.h"
#include "model/presets.h"

namespace ringflash {
namespace {

constexpr GgufArchitecture kArchitectures[] = {
    {.name = "llama", .paired_rope = true, .attention_bias = false, .qk_norm = false, .gemma = false},
    {.name = "qwen2", .paired_rope = false, .attention_bias = true, .qk_norm = false, .gemma = false},
    {.name = "qwen3", .paired_rope = false, .attention_bias = false, .qk_norm = true, .gemma = false},
    {.name = "gemma3", .paired_rope = false, .attention_bias = false, .qk_norm = true, .gemma = true},
};

constexpr int64_t kGemmaPattern = 6;  // every sixth layer sees all
constexpr double kGemmaLocalBase = 10000;

/// Metadata under the architecture's prefix; what is asked for is remembered, so that the rest can be refused.
class Keys {
 public:
  Keys(const GgufFile& file, std::string architecture) : file_(file), prefix_(std::move(architecture) + ".") {}

  bool has(const std::string& key) { return known_.insert(prefix_ + key), file_.metadata().contains(prefix_ + key); }
  const GgufValue& at(const std::string& key) const { return file_.metadata().at(prefix_ + key); }

  Result<int64_t> integer(const std::string& key) { return has(key), file_.integer(prefix_ + key); }
  Result<double> number(const std::string& key) { return has(key), file_.number(prefix_ + key); }
  Result<std::string> text(const std::string& key) { return has(key), file_.text(prefix_ + key); }
  Result<int64_t> integer(const std::string& key, int64_t absent) { return has(key) ? integer(key) : absent; }
  Result<double> number(const std::string& key, double absent) { return has(key) ? number(key) : absent; }

  /// A key that changes nothing where it has this value.
  Status expect(const std::string& key, int64_t value) {
    RF_TRY(const int64_t found, integer(key, value));
    if (found == value) return {};
    return Error{file_.path().string() + ": '" + prefix_ + key + "' must be " + std::to_string(value) + ", found " +
                 std::to_string(found)};
  }

  /// A key that tells where a model is from and changes nothing.
  void ignore(const std::string& key) { known_.insert(prefix_ + key); }

  Status refuse_unknown() const {
    for (const auto& [key, value] : file_.metadata()) {
      if (!key.starts_with(prefix_) || known_.contains(key)) continue;
      return Error{file_.path().string() + ": " + in_quotes(key) + " is not supported"};
    }
    return {};
  }

 private:
  const GgufFile& file_;
  std::string prefix_;
  std::set<std::string> known_;
};

Status read_sizes(Keys& keys, ModelConfig& c) {
  RF_TRY(c.hidden_size, keys.integer("embedding_length"));
  RF_TRY(c.intermediate_size, keys.integer("feed_forward_length"));
  RF_TRY(c.num_hidden_layers, keys.integer("block_count"));
  RF_TRY(c.num_attention_heads, keys.integer("attention.head_count"));
  RF_TRY(c.num_key_value_heads, keys.integer("attention.head_count_kv", c.num_attention_heads));
  RF_TRY(c.max_position_embeddings, keys.integer("context_length"));
  RF_TRY(c.rms_norm_eps, keys.number("attention.layer_norm_rms_epsilon"));
  const int64_t share = c.num_attention_heads > 0 ? c.hidden_size / c.num_attention_heads : 0;
  RF_TRY(c.head_dim, keys.integer("attention.key_length", share));
  RF_TRY_VOID(keys.expect("attention.value_length", c.head_dim));
  RF_TRY_VOID(keys.expect("rope.dimension_count", c.head_dim));
  RF_TRY_VOID(keys.expect("expert_count", 0));
  RF_TRY_VOID(keys.expect("expert_used_count", 0));
  RF_TRY_VOID(keys.expect("vocab_size", c.vocab_size));
  return {};
}

Status read_rope_scaling(Keys& keys, RopeScaling& s) {
  if (!keys.has("rope.scaling.type")) {
    RF_TRY(s.factor, keys.number("rope.scale_linear", s.factor));  // of older files
    if (s.factor != 1) s.type = RopeScalingType::kLinear;
    return {};
  }
  RF_TRY(const std::string type, keys.text("rope.scaling.type"));
  RF_TRY(s.type, parse_rope_scaling_type(type));
  RF_TRY(const double factor, keys.number("rope.scaling.factor", 1));
  RF_TRY(const int64_t original, keys.integer("rope.scaling.original_context_length", 0));
  if (s.type == RopeScalingType::kNone) return {};
  s.factor = factor;
  if (s.type != RopeScalingType::kYarn) return {};
  s.original_positions = original;
  RF_TRY(const double extra, keys.number("rope.scaling.attn_factor", 1));
  s.attention_factor = extra * yarn_attention_factor(s.factor);
  RF_TRY(s.beta_fast, keys.number("rope.scaling.yarn_beta_fast", s.beta_fast));
  RF_TRY(s.beta_slow, keys.number("rope.scaling.yarn_beta_slow", s.beta_slow));
  return {};
}

/// Llama 3's scaling is in the file as the numbers that angles are divided by. They are those of one of the published
/// settings, or refused.
Status recognise_rope_factors(const GgufFile& file, ModelConfig& c) {
  const GgufTensor* tensor = file.find(kRopeFactorsTensor);
  if (tensor == nullptr) return {};
  const std::string place = file.path().string() + ": tensor " + in_quotes(tensor->name);
  if (tensor->shape != std::vector{c.head_dim / 2}) {
    return Error{place + ": expected one number for each of " + std::to_string(c.head_dim / 2) + " angles"};
  }
  RF_TRY(const std::vector<float> divisors, read_floats(*tensor));
  const std::vector<double> plain = kernels::rope_frequencies(c.head_dim, {.theta = c.rope_theta});
  for (const double factor : {8.0, 32.0}) {
    RopeScaling scaling;
    scaling.type = RopeScalingType::kLlama3;
    scaling.factor = factor;
    scaling.original_positions = 8192;
    const auto scaled = kernels::rope_frequencies(c.head_dim, {.theta = c.rope_theta, .scaling = scaling});
    bool same = true;
    for (size_t i = 0; i < divisors.size(); ++i) {
      same = same && std::abs(plain[i] / scaled[i] / static_cast<double>(divisors[i]) - 1) < 1e-4;
    }
    if (!same) continue;
    c.rope_scaling = scaling;
    return {};
  }
  return Error{place + ": expected Llama 3's divisors of angles (factor 8 or 32 of 8192 positions), found others"};
}

/// Layers that slide: all but every sixth, or as the file says.
Result<std::vector<AttentionKind>> gemma_layers(Keys& keys, const ModelConfig& c) {
  const auto kind = [](bool slides) { return slides ? AttentionKind::kSliding : AttentionKind::kFull; };
  std::vector<AttentionKind> kinds;
  const char* key = "attention.sliding_window_pattern";
  if (keys.has(key)) {
    if (const auto* array = std::get_if<GgufArray>(&keys.at(key))) {
      if (const auto* slides = std::get_if<std::vector<bool>>(array)) {
        for (const bool each : *slides) kinds.push_back(kind(each));
        return kinds;
      }
    }
  }
  RF_TRY(const int64_t pattern, keys.integer(key, kGemmaPattern));
  for (int64_t layer = 0; layer < std::min(c.num_hidden_layers, kMaxLayers); ++layer) {
    kinds.push_back(kind(c.sliding_window > 0 && pattern > 0 && layer % pattern < pattern - 1));
  }
  return kinds;
}

Status read_gemma(Keys& keys, ModelConfig& c) {
  c.hidden_act = Activation::kGeluTanh;
  c.post_norms = true;
  c.embedding_multiplier = std::sqrt(static_cast<double>(c.hidden_size));
  RF_TRY(c.sliding_window, keys.integer("attention.sliding_window", 0));
  RF_TRY(c.rope_local_base_freq, keys.number("rope.freq_base_swa", kGemmaLocalBase));
  RF_TRY(c.attention, gemma_layers(keys, c));
  return {};
}

Status refuse_parts(const GgufFile& file) {
  if (!file.metadata().contains("split.count")) return {};
  RF_TRY(const int64_t parts, file.integer("split.count"));
  if (parts < 2) return {};
  return Error{file.path().string() + ": one of a model's " + std::to_string(parts) +
               " files; expected the whole model in one (llama.cpp's gguf-split --merge joins them)"};
}

Status read_token_ids(const GgufFile& file, ModelConfig& c) {
  RF_TRY(c.eos_token_id, file.integer("tokenizer.ggml.eos_token_id"));
  c.bos_token_id = c.eos_token_id;
  if (file.metadata().contains("tokenizer.ggml.bos_token_id")) {
    RF_TRY(c.bos_token_id, file.integer("tokenizer.ggml.bos_token_id"));
  }
  return {};
}

}  // namespace

Result<GgufArchitecture> gguf_architecture(const GgufFile& file) {
  RF_TRY(const std::string name, file.text("general.architecture"));
  std::string names;
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (name == architecture.name) return architecture;
    names += (names.empty() ? "" : ", ") + std::string(architecture.name);
  }
  return Error{file.path().string() + ": architecture " + in_quotes(name) + " is not supported; those that are: " +
               names};
}

double gemma_query_scalar(const ModelConfig& config) {
  constexpr int64_t kLayersOf27B = 62;  // which alone does not scale by head_dim, and its files do not say so
  if (config.num_hidden_layers != kLayersOf27B) return static_cast<double>(config.head_dim);
  return static_cast<double>(config.hidden_size) / static_cast<double>(config.num_attention_heads);
}

Result<ModelConfig> foreign_gguf_config(const GgufFile& file, const GgufArchitecture& architecture) {
  RF_TRY_VOID(refuse_parts(file));
  Keys keys(file, architecture.name);
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr) return Error{file.path().string() + ": tensor 'token_embd.weight' is missing"};
  ModelConfig c;
  c.vocab_size = embedding->shape.front();
  RF_TRY_VOID(read_sizes(keys, c));
  RF_TRY(c.rope_theta, keys.number("rope.freq_base", c.rope_theta));
  if (const Status scaling = read_rope_scaling(keys, c.rope_scaling); !scaling) {
    return scaling.error().in(file.path().string());
  }
  c.attention_bias = architecture.attention_bias;
  c.qk_norm = architecture.qk_norm;
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  c.attention.assign(static_cast<size_t>(std::clamp<int64_t>(c.num_hidden_layers, 0, kMaxLayers)), AttentionKind::kFull);
  c.ring = ring_preset(c.max_position_embeddings);
  if (architecture.gemma) RF_TRY_VOID(read_gemma(keys, c));
  RF_TRY_VOID(read_token_ids(file, c));
  keys.ignore("rope.scaling.finetuned");
  keys.ignore("tensor_data_layout");
  RF_TRY_VOID(keys.refuse_unknown());
  if (const Status valid = validate(c); !valid) return valid.error().in(file.path().string());
  RF_TRY_VOID(recognise_rope_factors(file, c));
  return c;
}

}  // namespace ringflash
