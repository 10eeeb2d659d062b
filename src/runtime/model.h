// A deployed model, mapped: config, tokenizer and pointers to the weights where they lie in the file.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "format/gguf.h"
#include "format/sparse_tensors.h"
#include "model/config.h"
#include "runtime/layer_matrix.h"
#include "text/tokenizer.h"

namespace ringflash {

/// One layer's weights. Matrices are under Hugging Face's names, vectors under what they are for, as the same name
/// means different things in different models; those that a model lacks are null.
struct LayerWeights {
  AttentionKind attention = AttentionKind::kFull;
  const float *attention_norm = nullptr, *attention_output_norm = nullptr;
  const float *mlp_norm = nullptr, *mlp_output_norm = nullptr;
  const float *q_bias = nullptr, *k_bias = nullptr, *v_bias = nullptr;
  const float *q_norm = nullptr, *k_norm = nullptr;
  LayerMatrix q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj;
  WeightMatrix router;  ///< data is null where the layer has none
};

class Model {
 public:
  /// Maps and validates the file: config, vocabulary, every tensor's presence, type and shape, and that tokens do
  /// not look ahead. `adjust` may change the config beforehand, so that the same weights run with another attention. Meanwhile
  /// a thread begins to read the weights (base/file_prefetch.h).
  static Result<Model> load(const std::filesystem::path& path,
                            const std::function<void(ModelConfig&)>& adjust = [](ModelConfig&) {});

  /// The same for a model to look at: no Session takes it if its tokens look ahead.
  static Result<Model> inspect(const std::filesystem::path& path,
                               const std::function<void(ModelConfig&)>& adjust = [](ModelConfig&) {});

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  const GgufFile& file() const { return file_; }
  const SparseTensors& sparse_tensors() const { return sparse_; }
  const WeightMatrix& embedding() const { return embedding_; }
  const WeightMatrix& head() const { return head_; }  ///< the embedding's, when tied
  const float* final_norm() const { return final_norm_; }
  const std::vector<LayerWeights>& layers() const { return layers_; }

 private:
  Model(GgufFile file, ModelConfig config, Tokenizer tokenizer)
      : file_(std::move(file)), config_(std::move(config)), tokenizer_(std::move(tokenizer)) {}
  static Result<Model> open(GgufFile file, const std::function<void(ModelConfig&)>& adjust);
  Status bind_weights();

  GgufFile file_;
  ModelConfig config_;
  Tokenizer tokenizer_;
  SparseTensors sparse_;
  WeightMatrix embedding_, head_;
  const float* final_norm_ = nullptr;
  std::vector<LayerWeights> layers_;
};

}  // namespace ringflash
