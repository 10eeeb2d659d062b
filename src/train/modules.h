// The decoder in libtorch. Submodules and parameters carry Hugging Face's names, so that named_parameters()
// lists exactly tensor_inventory()'s. Shapes: T tokens of packed documents, D hidden_size, H heads, K
// key-value heads, E head_dim, V vocabulary.
#pragma once

#include <torch/nn.h>

#include <functional>
#include <vector>

#include "model/config.h"
#include "train/ops/ring_attention.h"
#include "train/ops/weight_view.h"
#include "plan/recompute_plan.h"

namespace ringflash {

class SequenceSlice;

using Again = std::function<torch::Tensor()>;

/// The normed input of a layer's half, in fp32 and in the compute precision; how to get either again where neither is
/// to be kept.
struct NormedInput {
  torch::Tensor full, compute;
  Again full_again, compute_again;
};

/// How many layers ask for either again in one backward pass.
struct Askers {
  int compute = 0, full = 0;
};

struct LinearShape {
  int64_t in, out;
  bool bias = false;
  bool borrows = false;  ///< the weight is another's, which borrow() names
  int64_t rank = 0;      ///< of a pair that it has besides; 0 for none
};

/// A weight matrix [out, in], and a bias [out] where wanted, whose product runs in a lower precision than the weight is kept in,
/// and which may multiply with less than it keeps: masked and quantised (DESIGN section 5). Where layers share the
/// weight W (DESIGN section 6), one has it as its parameter, the others borrow it, and each multiplies with W + A B.
class LinearImpl : public torch::nn::Module {
 public:
  explicit LinearImpl(const LinearShape& shape);
  /// x [T, in] in the compute precision -> [T, out] in x's. Where `again` gives x once more, x is not kept.
  torch::Tensor forward(const torch::Tensor& x, const Again& again = {});
  torch::Tensor weight;
  torch::Tensor bias;              ///< empty for none
  torch::Tensor delta_a, delta_b;  ///< [out, rank] and [rank, in]; empty for none

  /// Multiplies with the owner's weight, as the owner's view shows it.
  void borrow(const LinearImpl& owner);
  bool borrows() const { return borrows_; }

  /// Whether x of this type may come packed (ops/block_linear.h), which spares layers in a row the packing.
  bool takes_packed(torch::ScalarType type) const { return view().tiles && type == packed_type() && !observer && !bias.defined() && !delta_a.defined(); }
  /// How often backward calls `again` for x of this type.
  int times_asking(torch::ScalarType type) const;
  /// Packed x -> packed.
  torch::Tensor forward_packed(const torch::Tensor& x);

  /// What forward multiplies with. Not parameters: whoever trains sets them (sparsifier.h).
  WeightView& view() const { return *view_; }

  /// Called with each x, where set: for calibration.
  std::function<void(const torch::Tensor&)> observer;

 private:
  torch::Tensor add_delta(const torch::Tensor& product, const torch::Tensor& x, const Again& again) const;

  bool borrows_;
  std::shared_ptr<WeightView> view_ = std::make_shared<WeightView>();
};
TORCH_MODULE(Linear);

/// All that a part of a model multiplies with: its parameters and the weights that it borrows.
std::vector<torch::Tensor> used_parameters(const torch::nn::Module& part);

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t width, double epsilon);
  /// x [..., width] fp32 -> fp32.
  torch::Tensor forward(const torch::Tensor& x);
  torch::Tensor weight;

 private:
  double epsilon_;
};
TORCH_MODULE(RmsNorm);

class AttentionImpl : public torch::nn::Module {
 public:
  AttentionImpl(const ModelConfig& config, int64_t layer);
  /// x [T, D]: in fp32 for the router and in the compute precision for the projections. `kept`: see ring_attention().
  torch::Tensor forward(const NormedInput& x, const std::vector<int64_t>& bounds, AttentionResult* kept = nullptr);
  Askers askers(torch::ScalarType compute) const;
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
  Askers askers(torch::ScalarType compute) const;
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

class CausalLmImpl : public torch::nn::Module {
 public:
  /// Weights drawn from `seed`: matrices normal with deviation 1/sqrt(in), those that write to the residual
  /// stream also divided by sqrt(2 * layers) (Radford et al. 2019), embedding and head 0.02, norms 1. Of a
  /// low-rank pair A is 0, B normal (Hu et al. 2021).
  CausalLmImpl(const ModelConfig& config, uint64_t seed);

  /// ids [T] -> what the first layer takes, [T, D] fp32.
  torch::Tensor embed(const torch::Tensor& ids);
  /// ids [T] -> normed hidden states [T, D], fp32.
  torch::Tensor hidden_states(const torch::Tensor& ids, const std::vector<int64_t>& bounds,
                              torch::ScalarType compute);
  /// Hidden states [T, D] -> logits [T, V], fp32.
  torch::Tensor head(const torch::Tensor& hidden, torch::ScalarType compute);
  /// ids [T] -> logits [T, V], fp32.
  torch::Tensor logits(const torch::Tensor& ids, const std::vector<int64_t>& bounds,
                       torch::ScalarType compute);
  /// Sum of -log p(target) in nats over the targets that are not PackedBatch::kIgnored; a scalar.
  torch::Tensor loss_sum(const torch::Tensor& ids, const torch::Tensor& targets,
                         const std::vector<int64_t>& bounds, torch::ScalarType compute);
  /// The same with a teacher's opinion of each next token counting for `weight` of the loss, 0 to 1.
  torch::Tensor distillation_sum(CausalLmImpl& teacher, double weight, const torch::Tensor& ids,
                                 const torch::Tensor& targets, const std::vector<int64_t>& bounds,
                                 torch::ScalarType compute);

  /// From here on ids, targets and hidden states are the slice of a row, bounds the row's; null for whole rows.
  void share_rows(const SequenceSlice* slice);

  const ModelConfig& config() const { return config_; }
  std::vector<DecoderLayer>& layers() { return layers_; }

 private:
  void share_weights();
  void draw_weights(uint64_t seed);
  const torch::Tensor& head_weight() const { return head_.defined() ? head_ : embedding_; }

  ModelConfig config_;
  torch::Tensor embedding_, head_;
  std::vector<DecoderLayer> layers_;
  RmsNorm norm_{nullptr};
};
TORCH_MODULE(CausalLm);

}  // namespace ringflash
