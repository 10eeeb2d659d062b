// The decoder in libtorch. Submodules and parameters carry Hugging Face's names, so that named_parameters() lists
// exactly tensor_inventory()'s. Shapes: T tokens of packed documents, D hidden_size, V vocabulary.
#pragma once

#include <torch/nn.h>

#include <vector>

#include "model/config.h"
#include "train/decoder_layer.h"

namespace ringflash {

/// What a teacher's word counts.
struct DistillWeights {
  double opinion = 0;  ///< of its opinion of each next token, against the text's: 0 to 1
  double states = 0;   ///< beside that, of what its layers return
};

class CausalLmImpl : public torch::nn::Module {
 public:
  /// Weights drawn from `seed`: matrices normal with deviation 1/sqrt(in), those that write to the residual
  /// stream also divided by sqrt(2 * layers) (Radford et al. 2019), embedding and head 0.02, norms 1. Of a
  /// low-rank pair A is 0, B normal (Hu et al. 2021).
  CausalLmImpl(const ModelConfig& config, uint64_t seed);

  /// ids [T] -> what the first layer takes, [T, D] fp32. In a slice of a row with an embedding_shift: collective.
  torch::Tensor embed(const torch::Tensor& ids, const std::vector<int64_t>& bounds);
  /// ids [T] -> normed hidden states [T, D], fp32. `returned`, if given, receives what each layer returns, [T, D] fp32.
  torch::Tensor hidden_states(const torch::Tensor& ids, const std::vector<int64_t>& bounds, torch::ScalarType compute,
                              std::vector<torch::Tensor>* returned = nullptr);
  /// Hidden states [T, D] -> logits [T, V], fp32.
  torch::Tensor head(const torch::Tensor& hidden, torch::ScalarType compute);
  /// ids [T] -> logits [T, V], fp32.
  torch::Tensor logits(const torch::Tensor& ids, const std::vector<int64_t>& bounds,
                       torch::ScalarType compute);
  /// Sum of -log p(target) in nats over the targets that are not PackedBatch::kIgnored; a scalar.
  torch::Tensor loss_sum(const torch::Tensor& ids, const torch::Tensor& targets,
                         const std::vector<int64_t>& bounds, torch::ScalarType compute);
  /// The same with a teacher's opinion of each next token counting for weights.opinion of the loss; added are, for each target,
  /// weights.states |x - x'|^2 / |x'|^2, the mean over layers, x what a layer returns and x' what the teacher's does
  /// (SquareHead, Kurtic et al. 2023, token by token): that needs a teacher of the same shape.
  torch::Tensor distillation_sum(CausalLmImpl& teacher, const DistillWeights& weights, const torch::Tensor& ids,
                                 const torch::Tensor& targets, const std::vector<int64_t>& bounds,
                                 torch::ScalarType compute);

  /// From here on ids, targets and hidden states are the slice of a row, bounds the row's; null for whole rows.
  void share_rows(const SequenceSlice* slice);

  const ModelConfig& config() const { return config_; }
  std::vector<DecoderLayer>& layers() { return layers_; }

 private:
  void share_weights();
  void draw_weights(uint64_t seed);
  torch::Tensor previous_token(const torch::Tensor& ids) const;
  torch::Tensor first_tokens(const torch::Tensor& ids, const std::vector<int64_t>& bounds) const;
  const torch::Tensor& head_weight() const { return head_.defined() ? head_ : embedding_; }

  ModelConfig config_;
  torch::Tensor embedding_, head_;
  std::vector<DecoderLayer> layers_;
  RmsNorm norm_{nullptr};
  const SequenceSlice* slice_ = nullptr;
};
TORCH_MODULE(CausalLm);

}  // namespace ringflash
