#include "model/tensors.h"

#include <functional>
#include <numeric>

namespace ringflash {

std::string to_string(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding: return "embedding";
    case TensorRole::kLinear: return "linear";
    case TensorRole::kDelta: return "delta";
    case TensorRole::kRouter: return "router";
    case TensorRole::kNorm: return "norm";
  }
  RF_UNREACHABLE();
}

int64_t TensorSpec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::string shape_text(std::span<const int64_t> shape) {
  std::string text;
  for (const int64_t size : shape) text += (text.empty() ? "[" : ", ") + std::to_string(size);
  return text + "]";
}

std::string layer_tensor(int64_t layer, const std::string& suffix) {
  return "model.layers." + std::to_string(layer) + "." + suffix;
}

std::string mlp_norm_tensor(const ModelConfig& config, int64_t layer) {
  return layer_tensor(layer, config.post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight");
}

LinearTensors linear_tensors(const ModelConfig& config, int64_t layer, const std::string& kind) {
  const SharingConfig& sharing = config.sharing;
  const bool of_mlp = kind == "gate_proj" || kind == "up_proj" || kind == "down_proj";
  const std::string module = (of_mlp ? "mlp." : "self_attn.") + kind;
  LinearTensors tensors{layer_tensor(sharing.owner(layer, kind), module + ".weight"), {}, {}};
  if (sharing.rank > 0 && sharing.sharers(layer, config.num_hidden_layers, kind) > 1) {
    tensors.delta_a = layer_tensor(layer, module + ".delta_a");
    tensors.delta_b = layer_tensor(layer, module + ".delta_b");
  }
  return tensors;
}

namespace {

/// A product's weight, unless it is another layer's, and its pair.
void add_linear(const ModelConfig& c, int64_t layer, const std::string& kind, int64_t out, int64_t in,
                std::vector<TensorSpec>& specs) {
  const LinearTensors tensors = linear_tensors(c, layer, kind);
  if (c.sharing.owner(layer, kind) == layer) {
    specs.push_back({tensors.weight, {out, in}, TensorRole::kLinear, c.sharing.sharers(layer, c.num_hidden_layers, kind)});
  }
  if (tensors.delta_a.empty()) return;
  specs.push_back({tensors.delta_a, {out, c.sharing.rank}, TensorRole::kDelta});
  specs.push_back({tensors.delta_b, {c.sharing.rank, in}, TensorRole::kDelta});
}

}  // namespace

std::vector<TensorSpec> tensor_inventory(const ModelConfig& c) {
  std::vector<TensorSpec> specs;
  specs.push_back({kEmbeddingTensor, {c.vocab_size, c.hidden_size}, TensorRole::kEmbedding});
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    const auto add = [&](const char* suffix, std::vector<int64_t> shape, TensorRole role) {
      specs.push_back({layer_tensor(layer, suffix), std::move(shape), role});
    };
    const auto add_product = [&](const char* kind, int64_t out, int64_t in) {
      add_linear(c, layer, kind, out, in, specs);
    };
    add("input_layernorm.weight", {c.hidden_size}, TensorRole::kNorm);
    add_product("q_proj", c.query_size(), c.hidden_size);
    add_product("k_proj", c.key_value_size(), c.hidden_size);
    add_product("v_proj", c.key_value_size(), c.hidden_size);
    add_product("o_proj", c.hidden_size, c.query_size());
    if (c.attention_bias) {
      add("self_attn.q_proj.bias", {c.query_size()}, TensorRole::kNorm);
      add("self_attn.k_proj.bias", {c.key_value_size()}, TensorRole::kNorm);
      add("self_attn.v_proj.bias", {c.key_value_size()}, TensorRole::kNorm);
    }
    if (c.qk_norm) {
      add("self_attn.q_norm.weight", {c.head_dim}, TensorRole::kNorm);
      add("self_attn.k_norm.weight", {c.head_dim}, TensorRole::kNorm);
    }
    if (c.has_router(layer)) {
      add("self_attn.router.weight", {c.num_key_value_heads, c.hidden_size}, TensorRole::kRouter);
    }
    add("post_attention_layernorm.weight", {c.hidden_size}, TensorRole::kNorm);
    if (c.post_norms) {
      add("pre_feedforward_layernorm.weight", {c.hidden_size}, TensorRole::kNorm);
      add("post_feedforward_layernorm.weight", {c.hidden_size}, TensorRole::kNorm);
    }
    add_product("gate_proj", c.intermediate_size, c.hidden_size);
    add_product("up_proj", c.intermediate_size, c.hidden_size);
    add_product("down_proj", c.hidden_size, c.intermediate_size);
  }
  specs.push_back({kFinalNormTensor, {c.hidden_size}, TensorRole::kNorm});
  if (!c.tie_word_embeddings) {
    specs.push_back({kHeadTensor, {c.vocab_size, c.hidden_size}, TensorRole::kEmbedding});
  }
  return specs;
}

}  // namespace ringflash
