#include "import/foreign_files.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/file.h"
#include "base/rng.h"
#include "format/safetensors.h"
#include "format/tokenizer_gguf.h"
#include "model/tensors.h"
#include "support/tiny_model.h"
#include "text/tokenizer_files.h"

namespace ringflash::testing {
namespace {

std::vector<std::byte> to_bytes(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

void replace(std::string& text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  if (at != std::string::npos) text.replace(at, from.size(), to);
}

std::string gguf_name(std::string name, bool gemma) {
  if (gemma) {
    replace(name, "post_attention_layernorm", "post_attention_norm");
    replace(name, "pre_feedforward_layernorm", "ffn_norm");
    replace(name, "post_feedforward_layernorm", "post_ffw_norm");
  }
  const std::pair<const char*, const char*> words[] = {
      {"model.layers.", "blk."}, {"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"},
      {"lm_head", "output"},     {"self_attn.q_proj", "attn_q"},       {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"}, {"self_attn.o_proj", "attn_output"}, {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"}, {"mlp.gate_proj", "ffn_gate"}, {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"}, {"input_layernorm", "attn_norm"}, {"post_attention_layernorm", "ffn_norm"}};
  for (const auto& [ours, theirs] : words) replace(name, ours, theirs);
  return name;
}

/// What the converter does to q and k of Llama: row (head, half, i) goes to (head, i, half).
std::vector<float> pair_up(const std::vector<float>& rows, int64_t head_dim) {
  const int64_t half = head_dim / 2, width = 64;
  std::vector<float> paired;
  for (int64_t head = 0; head < std::ssize(rows) / width / head_dim; ++head) {
    for (int64_t i = 0; i < half; ++i) {
      for (int64_t side = 0; side < 2; ++side) {
        const auto row = rows.begin() + (head * head_dim + side * half + i) * width;
        paired.insert(paired.end(), row, row + width);
      }
    }
  }
  return paired;
}

}  // namespace

ForeignWeights foreign_weights(const ModelConfig& config, uint64_t seed) {
  Rng rng(seed);
  ForeignWeights weights;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    const bool gain = spec.role == TensorRole::kNorm;
    for (int64_t i = 0; i < spec.elements(); ++i) {
      weights[spec.name].push_back(static_cast<float>((gain ? 1 : 0) + 0.1 * rng.normal()));
    }
  }
  return weights;
}

void write_foreign_gguf(const std::filesystem::path& path, const std::string& architecture, const ModelConfig& c,
                        const ForeignWeights& weights, const std::function<void(GgufWriter&)>& change) {
  GgufWriter writer;
  const auto set = [&](const std::string& key, GgufValue value) { writer.set(architecture + "." + key, value); };
  const auto number = [](int64_t value) { return GgufValue(static_cast<uint32_t>(value)); };
  writer.set("general.architecture", architecture);
  write_vocabulary(byte_vocabulary(c.vocab_size), writer);
  set("context_length", number(c.max_position_embeddings));
  set("embedding_length", number(c.hidden_size));
  set("feed_forward_length", number(c.intermediate_size));
  set("block_count", number(c.num_hidden_layers));
  set("attention.head_count", number(c.num_attention_heads));
  set("attention.head_count_kv", number(c.num_key_value_heads));
  set("attention.key_length", number(c.head_dim));
  set("attention.value_length", number(c.head_dim));
  set("attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  set("rope.freq_base", c.rope_theta);
  const bool gemma = architecture == "gemma3";
  if (gemma) {
    set("attention.sliding_window", number(c.sliding_window));
    set("attention.sliding_window_pattern", number(2));
  }
  for (const TensorSpec& spec : tensor_inventory(c)) {
    std::vector<float> values = weights.at(spec.name);
    const bool rotated = spec.name.ends_with("q_proj.weight") || spec.name.ends_with("k_proj.weight");
    if (architecture == "llama" && rotated) values = pair_up(values, c.head_dim);
    writer.add_tensor(gguf_name(spec.name, gemma), GgufType::kF32, spec.shape,
                      [bytes = to_bytes(values)] { return bytes; });
  }
  if (change) change(writer);
  RF_CHECK(writer.write(path).ok());
}

nlohmann::json hf_config(const std::string& architecture, const ModelConfig& c) {
  nlohmann::json config = {{"architectures", {"SomethingForCausalLM"}},
                           {"model_type", architecture == "gemma3" ? "gemma3_text" : architecture},
                           {"vocab_size", c.vocab_size},
                           {"hidden_size", c.hidden_size},
                           {"intermediate_size", c.intermediate_size},
                           {"num_hidden_layers", c.num_hidden_layers},
                           {"num_attention_heads", c.num_attention_heads},
                           {"num_key_value_heads", c.num_key_value_heads},
                           {"head_dim", c.head_dim},
                           {"max_position_embeddings", c.max_position_embeddings},
                           {"rms_norm_eps", c.rms_norm_eps},
                           {"rope_theta", c.rope_theta},
                           {"tie_word_embeddings", c.tie_word_embeddings},
                           {"bos_token_id", c.bos_token_id},
                           {"eos_token_id", {c.eos_token_id, 106}},
                           {"torch_dtype", "bfloat16"}};
  if (architecture != "gemma3") {
    config["hidden_act"] = "silu";
    return config;
  }
  config["hidden_activation"] = "gelu_pytorch_tanh";
  config["query_pre_attn_scalar"] = 2 * c.head_dim;
  config["sliding_window"] = c.sliding_window;
  config["layer_types"] = {"sliding_attention", "full_attention"};
  config["rope_local_base_freq"] = c.rope_local_base_freq;
  return config;
}

void write_hf_directory(const std::filesystem::path& directory, const nlohmann::json& config,
                        const ModelConfig& shapes, const ForeignWeights& weights, size_t shards) {
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  RF_CHECK(write_file(directory / "config.json", config.dump(1)).ok());
  RF_CHECK(save_tokenizer(byte_vocabulary(shapes.vocab_size), directory).ok());
  std::vector<std::vector<TensorView>> files(shards);
  nlohmann::json map = nlohmann::json::object();
  size_t next = 0;
  for (const TensorSpec& spec : tensor_inventory(shapes)) {
    const size_t shard = next++ % shards;
    files[shard].push_back({spec.name, DType::kF32, spec.shape, std::as_bytes(std::span(weights.at(spec.name)))});
    map[spec.name] = "model-" + std::to_string(shard) + ".safetensors";
  }
  if (shards == 1) {
    RF_CHECK(write_safetensors(directory / "model.safetensors", files[0]).ok());
    return;
  }
  for (size_t i = 0; i < shards; ++i) {
    RF_CHECK(write_safetensors(directory / ("model-" + std::to_string(i) + ".safetensors"), files[i]).ok());
  }
  const nlohmann::json index = {{"metadata", {{"total_size", 0}}}, {"weight_map", map}};
  RF_CHECK(write_file(directory / "model.safetensors.index.json", index.dump()).ok());
}

}  // namespace ringflash::testing
