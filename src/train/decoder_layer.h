// One layer of the decoder. Shapes: T tokens of packed documents, D hidden_size, H heads, K key-value heads, E head_dim.
#pragma once

#include <torch/nn.h>

#include <vector>

#include "model/config.h"
#include "plan/recompute_plan.h"
#include "train/linear.h"
#include "train/ops/ring_attention.h"

namespace ringflash {

class SequenceSlice;

/// The normed input of a layer's half in the compute precision, and how to get it again where it is not to be kept; a
/// router's scores of it.
struct NormedInput {
  torch::Tensor compute, scores;
  Again compute_again;
};

class AttentionImpl : public torch::nn::Module {
 public:
  AttentionImpl(const ModelConfig& config, int64_t layer);
  /// x [T, D], with the router's scores if there is one. `kept`: see ring_attention().
  torch::Tensor forward(const NormedInput& x, const std::vector<int64_t>& bounds, AttentionResult* kept = nullptr);
  /// How many layers ask for their input again in one backward pass.
  int askers(torch::ScalarType compute) const;
  Linear q_proj{nullptr}, k_proj{nullptr}, v_proj{nullptr}, o_proj{nullptr}, router{nullptr};
  RmsNorm q_norm{nullptr}, k_norm{nullptr};

  /// Where set, x is that slice of a row whose documents the bounds tell of.
  const SequenceSlice* slice = nullptr;

 private:
  int64_t heads_, key_value_heads_, head_dim_;
  AttentionOptions options_;
};
TORCH_MODULE(Attention);

class MlpImpl : public torch::nn::Module {
 public:
  MlpImpl(const ModelConfig& config, int64_t layer);
  /// x [T, D] in the compute precision -> the same shape and type.
  torch::Tensor forward(const NormedInput& x);
  /// The same of norm(x), x in fp32, keeping x alone.
  torch::Tensor forward_recomputed(const torch::Tensor& x, RmsNorm norm, torch::ScalarType compute);
  /// What down_proj takes.
  torch::Tensor inner(const NormedInput& x);
  bool takes_packed(torch::ScalarType type) const;
  bool has_deltas() const;
  int askers(torch::ScalarType compute) const;
  Linear gate_proj{nullptr}, up_proj{nullptr}, down_proj{nullptr};

 private:
  torch::Tensor gated(const torch::Tensor& gate, const torch::Tensor& up) const;

  Activation activation_;
};
TORCH_MODULE(Mlp);

class DecoderLayerImpl : public torch::nn::Module {
 public:
  DecoderLayerImpl(const ModelConfig& config, int64_t layer);
  /// The residual stream x [T, D] fp32 -> fp32; matrix products in `compute`.
  torch::Tensor forward(const torch::Tensor& x, const std::vector<int64_t>& bounds,
                        torch::ScalarType compute);
  Recompute recompute = Recompute::kNothing;
  RmsNorm input_layernorm{nullptr};
  /// Of the MLP's input; with post_norms of attention's output, and the next two are of the MLP's input and output.
  RmsNorm post_attention_layernorm{nullptr};
  RmsNorm pre_feedforward_layernorm{nullptr}, post_feedforward_layernorm{nullptr};
  Attention self_attn{nullptr};
  Mlp mlp{nullptr};

 private:
  torch::Tensor attend(const torch::Tensor& x, const std::vector<int64_t>& bounds, torch::ScalarType compute,
                       Recompute level, AttentionResult* kept);
  torch::Tensor forward_halves(const torch::Tensor& x, const std::vector<int64_t>& bounds, torch::ScalarType compute,
                               Recompute level, AttentionResult* kept);
};
TORCH_MODULE(DecoderLayer);

}  // namespace ringflash
