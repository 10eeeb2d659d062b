#include "runtime/model.h"

#include <utility>

#include "base/in_quotes.h"
#include "format/config_gguf.h"
#include "format/tokenizer_gguf.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

/// The types a tensor of this role may be stored in.
std::vector<GgufType> accepted_types(TensorRole role) {
  switch (role) {
    case TensorRole::kEmbedding:
    case TensorRole::kLinear:
      return {GgufType::kF32, GgufType::kBF16, GgufType::kQ8_0, GgufType::kQ4_0, GgufType::kQ4_1, GgufType::kQ5_0};
    case TensorRole::kDelta:
      return {GgufType::kF32, GgufType::kBF16};
    case TensorRole::kRouter:
    case TensorRole::kNorm:
      return {GgufType::kF32};
  }
  RF_UNREACHABLE();
}

Status check_tensor(const GgufFile& file, const TensorSpec& spec) {
  const std::string place = "tensor " + in_quotes(spec.name);
  const GgufTensor* tensor = file.find(spec.name);
  if (tensor == nullptr) return Error{place + " is missing"};
  if (tensor->shape != spec.shape) {
    return Error{place + ": expected shape " + shape_text(spec.shape) + ", found " +
                 shape_text(tensor->shape)};
  }
  std::string names;
  for (const GgufType type : accepted_types(spec.role)) {
    if (tensor->type == type) return {};
    names += (names.empty() ? "" : " or ") + to_string(type);
  }
  return Error{place + ": expected type " + names + ", found " + to_string(tensor->type)};
}

WeightMatrix matrix(const GgufFile& file, const SparseTensors& sparse, const std::string& name) {
  const GgufTensor* tensor = file.find(name);
  RF_CHECK(tensor != nullptr);
  if (const auto found = sparse.find(name); found != sparse.end()) {
    const SparseShape& shape = found->second.shape;
    return {tensor->type, tensor->data.data(), shape.rows, shape.columns, found->second};
  }
  RF_CHECK(tensor->shape.size() == 2);
  return {tensor->type, tensor->data.data(), tensor->shape[0], tensor->shape[1]};
}

LayerMatrix layer_matrix(const GgufFile& file, const SparseTensors& sparse, const LinearTensors& tensors) {
  LayerMatrix result{matrix(file, sparse, tensors.weight), {}, {}};
  if (tensors.delta_a.empty()) return result;
  result.delta_a = matrix(file, sparse, tensors.delta_a);
  result.delta_b = matrix(file, sparse, tensors.delta_b);
  return result;
}

const float* gains(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.find(name);
  RF_CHECK(tensor != nullptr && tensor->type == GgufType::kF32);
  return reinterpret_cast<const float*>(tensor->data.data());
}

LayerWeights bind_layer(const GgufFile& file, const SparseTensors& sparse, const ModelConfig& config, int64_t layer) {
  const auto product = [&](const char* kind) { return layer_matrix(file, sparse, linear_tensors(config, layer, kind)); };
  const auto vector = [&](const char* name) { return gains(file, layer_tensor(layer, name)); };
  LayerWeights w;
  w.attention = config.attention[static_cast<size_t>(layer)];
  w.attention_norm = vector("input_layernorm.weight");
  w.q_proj = product("q_proj");
  w.k_proj = product("k_proj");
  w.v_proj = product("v_proj");
  w.o_proj = product("o_proj");
  if (config.has_router(layer)) {
    w.router = matrix(file, sparse, layer_tensor(layer, "self_attn.router.weight"));
  }
  if (config.attention_bias) {
    w.q_bias = vector("self_attn.q_proj.bias");
    w.k_bias = vector("self_attn.k_proj.bias");
    w.v_bias = vector("self_attn.v_proj.bias");
  }
  if (config.qk_norm) {
    w.q_norm = vector("self_attn.q_norm.weight");
    w.k_norm = vector("self_attn.k_norm.weight");
  }
  w.mlp_norm = gains(file, mlp_norm_tensor(config, layer));
  if (config.post_norms) {
    w.attention_output_norm = vector("post_attention_layernorm.weight");
    w.mlp_output_norm = vector("post_feedforward_layernorm.weight");
  }
  w.gate_proj = product("gate_proj");
  w.up_proj = product("up_proj");
  w.down_proj = product("down_proj");
  return w;
}

}  // namespace

Result<Model> Model::load(const std::filesystem::path& path, const std::function<void(ModelConfig&)>& adjust) {
  RF_TRY(GgufFile file, GgufFile::open(path));
  file.prefetch();
  RF_TRY(Model model, open(std::move(file), adjust));
  if (const Status causal = require_causal(model.config(), "to generate"); !causal) {
    return causal.error().in(path.string());
  }
  return model;
}

Result<Model> Model::inspect(const std::filesystem::path& path, const std::function<void(ModelConfig&)>& adjust) {
  RF_TRY(GgufFile file, GgufFile::open(path));
  return open(std::move(file), adjust);
}

Result<Model> Model::open(GgufFile file, const std::function<void(ModelConfig&)>& adjust) {
  const std::filesystem::path path = file.path();
  RF_TRY(ModelConfig config, read_config(file));
  adjust(config);
  if (const Status valid = validate(config); !valid) return valid.error().in(path.string());
  RF_TRY(Vocabulary vocabulary, read_vocabulary(file));
  const auto pieces = static_cast<int64_t>(vocabulary.pieces.size());
  if (pieces != config.vocab_size) {
    return Error{"expected a tokenizer of vocab_size = " + std::to_string(config.vocab_size) +
                 " pieces, found " + std::to_string(pieces)}
        .in(path.string());
  }
  auto tokenizer = Tokenizer::create(std::move(vocabulary));
  if (!tokenizer) return tokenizer.error().in(path.string());
  Model model(std::move(file), std::move(config), std::move(tokenizer).value());
  if (const Status bound = model.bind_weights(); !bound) return bound.error().in(path.string());
  return model;
}

Status Model::bind_weights() {
  const std::vector<TensorSpec> inventory = tensor_inventory(config_);
  RF_TRY(sparse_, read_sparse_tensors(file_, inventory));
  for (const TensorSpec& spec : inventory) {
    if (!sparse_.contains(spec.name)) RF_TRY_VOID(check_tensor(file_, spec));
  }
  embedding_ = matrix(file_, sparse_, kEmbeddingTensor);
  head_ = config_.tie_word_embeddings ? embedding_ : matrix(file_, sparse_, kHeadTensor);
  final_norm_ = gains(file_, kFinalNormTensor);
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    layers_.push_back(bind_layer(file_, sparse_, config_, layer));
  }
  return {};
}

}  // namespace ringflash
