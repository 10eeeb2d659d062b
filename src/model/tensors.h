// The tensor inventory: which tensors a model of a given config has, with Hugging Face's names and shapes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"

namespace ringflash {

/// What a tensor is for; export formats and statistics go by it.
enum class TensorRole {
  kEmbedding,  ///< token embedding, and the untied head
  kLinear,     ///< a weight matrix [out, in] inside a layer: what sparsity and quantisation compress
  kDelta,      ///< one of the two factors of what a layer adds to a weight that it shares (sharing.h)
  kRouter,     ///< W_r, kept exact: a flipped selection is a discontinuity
  kNorm,       ///< vectors: RMSNorm gains, and the biases of q, k and v
};

std::string to_string(TensorRole role);

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role;
  int64_t layers = 1;  ///< that use it: a shared weight has several

  int64_t elements() const;
};

/// Every tensor of the model, embedding first, layers in order, norm and head last.
std::vector<TensorSpec> tensor_inventory(const ModelConfig& config);

/// "[64, 96]", for messages.
std::string shape_text(std::span<const int64_t> shape);

/// "model.layers.3." + suffix.
std::string layer_tensor(int64_t layer, const std::string& suffix);

/// The tensors of one matrix product of a layer.
struct LinearTensors {
  std::string weight;            ///< its own, or that of the layer it shares it with
  std::string delta_a, delta_b;  ///< empty where it has no pair
};

/// `kind` is one of kLinearKinds.
LinearTensors linear_tensors(const ModelConfig& config, int64_t layer, const std::string& kind);

/// The norm of the MLP's input: Llama's name, or Gemma's where that one is the norm of attention's output.
std::string mlp_norm_tensor(const ModelConfig& config, int64_t layer);

inline constexpr const char* kEmbeddingTensor = "model.embed_tokens.weight";
inline constexpr const char* kFinalNormTensor = "model.norm.weight";
inline constexpr const char* kHeadTensor = "lm_head.weight";

}  // namespace ringflash
