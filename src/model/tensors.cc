#include "model/tensors.h"

#include <functional>
#include <numeric>

namespace ringflash {

std::string to_string(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding: return "embedding";
    case TensorRole::kLinear: return "linear";
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

std::vector<TensorSpec> tensor_inventory(const ModelConfig& c) {
  std::vector<TensorSpec> specs;
  specs.push_back({kEmbeddingTensor, {c.vocab_size, c.hidden_size}, TensorRole::kEmbedding});
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) {
    const auto add = [&](const char* suffix, std::vector<int64_t> shape, TensorRole role) {
      specs.push_back({layer_tensor(layer, suffix), std::move(shape), role});
    };
    add("input_layernorm.weight", {c.hidden_size}, TensorRole::kNorm);
    add("self_attn.q_proj.weight", {c.query_size(), c.hidden_size}, TensorRole::kLinear);
    add("self_attn.k_proj.weight", {c.key_value_size(), c.hidden_size}, TensorRole::kLinear);
    add("self_attn.v_proj.weight", {c.key_value_size(), c.hidden_size}, TensorRole::kLinear);
    add("self_attn.o_proj.weight", {c.hidden_size, c.query_size()}, TensorRole::kLinear);
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
    add("mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size}, TensorRole::kLinear);
    add("mlp.up_proj.weight", {c.intermediate_size, c.hidden_size}, TensorRole::kLinear);
    add("mlp.down_proj.weight", {c.hidden_size, c.intermediate_size}, TensorRole::kLinear);
  }
  specs.push_back({kFinalNormTensor, {c.hidden_size}, TensorRole::kNorm});
  if (!c.tie_word_embeddings) {
    specs.push_back({kHeadTensor, {c.vocab_size, c.hidden_size}, TensorRole::kEmbedding});
  }
  return specs;
}

}  // namespace ringflash
