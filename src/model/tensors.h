// The tensor inventory: which tensors a model of a given config has, with Hugging Face's names and shapes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/config.h"

namespace ringflash {

/// What a tensor is for; export formats and statistics go by it.
enum class TensorRole {
  kEmbedding,  ///< token embedding, and the untied head
  kLinear,     ///< a weight matrix [out, in] inside a layer: what sparsity and quantisation compress
  kRouter,     ///< W_r, kept exact: a flipped selection is a discontinuity
  kNorm,       ///< RMSNorm gains
};

std::string to_string(TensorRole role);

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role;

  int64_t elements() const;
};

/// Every tensor of the model, embedding first, layers in order, norm and head last.
std::vector<TensorSpec> tensor_inventory(const ModelConfig& config);

/// "model.layers.3." + suffix.
std::string layer_tensor(int64_t layer, const std::string& suffix);

inline constexpr const char* kEmbeddingTensor = "model.embed_tokens.weight";
inline constexpr const char* kFinalNormTensor = "model.norm.weight";
inline constexpr const char* kHeadTensor = "lm_head.weight";

}  // namespace ringflash
