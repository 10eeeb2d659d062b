#include "train/decoder_layer.h"

#include "train/ops/fused.h"
#include "train/ops/recompute.h"
#include "train/sequence_slice.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;

namespace {

AttentionOptions attention_options(const ModelConfig& config, int64_t layer) {
  return {.kind = config.attention[layer],
          .mode = config.attention_mode,
          .ring = config.ring,
          .rope = config.rope(config.attention[layer]),
          .sliding_window = config.sliding_window};
}

/// `make` for several callers who each ask once: made for the first, forgotten with the last.
Again made_once(Again make, int callers) {
  struct Made {
    Tensor tensor;
    int left;
  };
  return [make = std::move(make), made = std::make_shared<Made>(Made{{}, callers}), callers] {
    if (!made->tensor.defined()) made->tensor = make();
    const Tensor result = made->tensor;
    if (--made->left == 0) *made = {{}, callers};
    return result;
  };
}

Tensor weight_of(const Linear& router) { return router.is_empty() ? Tensor() : router->weight; }

/// `router` may be empty: the MLP has none.
NormedInput normed_input(RmsNorm norm, const Tensor& x, torch::ScalarType compute, const Linear& router) {
  // The router stays in fp32: the runtime must choose the same tokens.
  const Normed normed = norm->for_products(x, compute, weight_of(router));
  return {normed.rounded, normed.scores, {}};
}

/// The same where it is not to be kept: `askers` layers will ask for it.
NormedInput forgotten_input(RmsNorm norm, const Tensor& x, torch::ScalarType compute, const Linear& router, int askers) {
  NormedInput result = normed_input(norm, x, compute, router);
  const Again again = [norm, kept = x.detach(), compute]() mutable {
    const torch::NoGradGuard no_grad;
    return norm->for_products(kept, compute, {}).rounded;
  };
  result.compute_again = made_once(again, askers);
  return result;
}

int count_askers(std::initializer_list<Linear> layers, torch::ScalarType compute) {
  int askers = 0;
  for (const Linear& layer : layers) askers += layer->times_asking(compute);
  return askers;
}

/// The products of several layers with one x, which is packed once.
std::vector<Tensor> apply_each(const NormedInput& input, std::initializer_list<Linear> layers) {
  const Tensor& x = input.compute;
  Tensor packed;
  std::vector<Tensor> products;
  for (Linear layer : layers) {
    if (!layer->takes_packed(x.scalar_type())) {
      products.push_back(layer(x, input.compute_again));
      continue;
    }
    if (!packed.defined()) packed = pack_tokens(x);
    products.push_back(layer->forward_unpacked(packed, x.size(0)));
  }
  return products;
}

/// x [T, heads, E] with each head normed, if there is a norm, in x's type.
Tensor normed_heads(const Tensor& x, RmsNorm norm) {
  if (norm.is_empty()) return x;
  return norm(x.to(torch::kFloat32)).to(x.scalar_type());
}

/// A layer's matrix of this kind, by itself or as its group shares it.
Linear add_linear(torch::nn::Module& parent, const ModelConfig& c, int64_t layer, const char* kind, int64_t in, int64_t out,
                  bool bias = false) {
  const bool shared = c.sharing.sharers(layer, c.num_hidden_layers, kind) > 1;
  const LinearShape shape{.in = in,
                          .out = out,
                          .bias = bias,
                          .borrows = c.sharing.owner(layer, kind) != layer,
                          .rank = shared ? c.sharing.rank : 0};
  return parent.register_module(kind, Linear(shape));
}

}  // namespace

AttentionImpl::AttentionImpl(const ModelConfig& c, int64_t layer)
    : q_proj(add_linear(*this, c, layer, "q_proj", c.hidden_size, c.query_size(), c.attention_bias)),
      k_proj(add_linear(*this, c, layer, "k_proj", c.hidden_size, c.key_value_size(), c.attention_bias)),
      v_proj(add_linear(*this, c, layer, "v_proj", c.hidden_size, c.key_value_size(), c.attention_bias)),
      o_proj(add_linear(*this, c, layer, "o_proj", c.query_size(), c.hidden_size)),
      heads_(c.num_attention_heads),
      key_value_heads_(c.num_key_value_heads),
      head_dim_(c.head_dim),
      options_(attention_options(c, layer)) {
  if (c.qk_norm) {
    q_norm = register_module("q_norm", RmsNorm(c.head_dim, c.rms_norm_eps));
    k_norm = register_module("k_norm", RmsNorm(c.head_dim, c.rms_norm_eps));
  }
  if (c.has_router(layer)) {
    router = register_module("router", Linear(LinearShape{.in = c.hidden_size, .out = c.num_key_value_heads}));
  }
}

Tensor AttentionImpl::forward(const NormedInput& x, const std::vector<int64_t>& bounds, AttentionResult* kept) {
  const std::vector<Tensor> projected = apply_each(x, {q_proj, k_proj, v_proj});
  const Tensor q = normed_heads(projected[0].view({-1, heads_, head_dim_}), q_norm);
  const Tensor k = normed_heads(projected[1].view({-1, key_value_heads_, head_dim_}), k_norm);
  const Tensor v = projected[2].view({-1, key_value_heads_, head_dim_});
  const Tensor& r = x.scores;
  if (slice == nullptr) return o_proj(ring_attention(q, k, v, r, bounds, options_, kept).flatten(1));
  const SequenceSlice::Keys all = slice->gather(k, v, r, bounds, options_);
  AttentionOptions options = options_;
  options.first_query = slice->first();
  return o_proj(ring_attention(q, all.k, all.v, all.router, slice->bounds(bounds), options, kept).flatten(1));
}

MlpImpl::MlpImpl(const ModelConfig& c, int64_t layer)
    : gate_proj(add_linear(*this, c, layer, "gate_proj", c.hidden_size, c.intermediate_size)),
      up_proj(add_linear(*this, c, layer, "up_proj", c.hidden_size, c.intermediate_size)),
      down_proj(add_linear(*this, c, layer, "down_proj", c.intermediate_size, c.hidden_size)),
      activation_(c.hidden_act) {}

int AttentionImpl::askers(torch::ScalarType compute) const {
  return count_askers({q_proj, k_proj, v_proj}, compute);
}

Tensor MlpImpl::gated(const Tensor& gate, const Tensor& up) const {
  switch (activation_) {
    case Activation::kSilu:
      return swiglu(gate, up);
    case Activation::kGeluTanh:
      return geglu(gate, up);
  }
  RF_UNREACHABLE();
}

int MlpImpl::askers(torch::ScalarType compute) const {
  return count_askers({gate_proj, up_proj}, compute);
}

bool MlpImpl::takes_packed(torch::ScalarType type) const {
  return gate_proj->takes_packed(type) && up_proj->takes_packed(type) && down_proj->takes_packed(type);
}

Tensor MlpImpl::inner(const NormedInput& x) {
  // One after the other: the order in which backward sums their gradients of x follows.
  const Tensor gate = gate_proj(x.compute, x.compute_again), up = up_proj(x.compute, x.compute_again);
  return gated(gate, up);
}

bool MlpImpl::has_deltas() const {
  return gate_proj->delta_a.defined() || up_proj->delta_a.defined() || down_proj->delta_a.defined();
}

Tensor MlpImpl::forward(const NormedInput& input) {
  const Tensor& x = input.compute;
  if (takes_packed(x.scalar_type())) {
    const Tensor packed = pack_tokens(x);
    const Tensor inner = gated(gate_proj->forward_packed(packed), up_proj->forward_packed(packed));
    return down_proj->forward_unpacked(inner, x.size(0));
  }
  if (!input.compute_again) return down_proj(inner(input));
  const Tensor gate = gate_proj(x, input.compute_again), up = up_proj(x, input.compute_again);
  return down_proj(gated(gate, up), Again([this, gate = gate.detach(), up = up.detach()] {
                     const torch::NoGradGuard no_grad;
                     return gated(gate, up);
                   }));
}

Tensor MlpImpl::forward_recomputed(const Tensor& x, RmsNorm norm, torch::ScalarType compute) {
  if (takes_packed(compute) || has_deltas()) {
    const ModelPart whole = [this, norm, compute](const Tensor& kept) mutable {
      return forward(normed_input(norm, kept, compute, nullptr));
    };
    std::vector<Tensor> parameters = used_parameters(*this);
    parameters.push_back(norm->weight);
    return recomputed(whole, x, parameters);
  }
  const LinearPart but_last = [this, norm, compute](const Tensor& kept) mutable -> LinearEnd {
    return {inner(normed_input(norm, kept, compute, nullptr)), {}};
  };
  return recomputed_linear(but_last, x, {norm->weight, gate_proj->weight, up_proj->weight},
                           seen_weight(down_proj->weight, down_proj->view(), compute));
}

DecoderLayerImpl::DecoderLayerImpl(const ModelConfig& c, int64_t layer)
    : input_layernorm(register_module("input_layernorm", RmsNorm(c.hidden_size, c.rms_norm_eps))),
      post_attention_layernorm(
          register_module("post_attention_layernorm", RmsNorm(c.hidden_size, c.rms_norm_eps))),
      self_attn(register_module("self_attn", Attention(c, layer))),
      mlp(register_module("mlp", Mlp(c, layer))) {
  if (!c.post_norms) return;
  const auto norm = [&](const char* name) { return register_module(name, RmsNorm(c.hidden_size, c.rms_norm_eps)); };
  pre_feedforward_layernorm = norm("pre_feedforward_layernorm");
  post_feedforward_layernorm = norm("post_feedforward_layernorm");
}

Tensor DecoderLayerImpl::forward(const Tensor& x, const std::vector<int64_t>& bounds,
                                 torch::ScalarType compute) {
  const bool whole = recompute == Recompute::kLayer || recompute == Recompute::kAllButAttention;
  if (!whole || !torch::GradMode::is_enabled()) return forward_halves(x, bounds, compute, recompute, nullptr);
  const auto kept = recompute == Recompute::kAllButAttention ? std::make_shared<AttentionResult>() : nullptr;
  if (!pre_feedforward_layernorm.is_empty() || mlp->takes_packed(compute) || mlp->has_deltas()) {
    const ModelPart again = [this, bounds, compute, kept](const Tensor& input) {
      return forward_halves(input, bounds, compute, Recompute::kNothing, kept.get());
    };
    return recomputed(again, x, used_parameters(*this));
  }
  const LinearPart but_last = [this, bounds, compute, kept](const Tensor& input) -> LinearEnd {
    const Tensor attended = attend(input, bounds, compute, Recompute::kNothing, kept.get());
    return {mlp->inner(normed_input(post_attention_layernorm, attended, compute, nullptr)), attended};
  };
  return recomputed_linear(but_last, x, used_parameters(*this), seen_weight(mlp->down_proj->weight, mlp->down_proj->view(), compute));
}

Tensor DecoderLayerImpl::attend(const Tensor& x, const std::vector<int64_t>& bounds, torch::ScalarType compute,
                                Recompute level, AttentionResult* kept) {
  const NormedInput normed = level == Recompute::kNothing
                                 ? normed_input(input_layernorm, x, compute, self_attn->router)
                                 : forgotten_input(input_layernorm, x, compute, self_attn->router, self_attn->askers(compute));
  const Tensor attention = self_attn(normed, bounds, kept);
  const bool post_norms = !pre_feedforward_layernorm.is_empty();
  return residual_sum(x, post_norms ? post_attention_layernorm(attention.to(torch::kFloat32)) : attention);
}

Tensor DecoderLayerImpl::forward_halves(const Tensor& x, const std::vector<int64_t>& bounds, torch::ScalarType compute,
                                        Recompute level, AttentionResult* kept) {
  const Tensor attended = attend(x, bounds, compute, level, kept);
  const bool post_norms = !pre_feedforward_layernorm.is_empty();
  RmsNorm norm = post_norms ? pre_feedforward_layernorm : post_attention_layernorm;
  const Tensor output = [&] {
    if (level == Recompute::kMlp) return mlp->forward_recomputed(attended, norm, compute);
    if (level == Recompute::kNothing) return mlp(normed_input(norm, attended, compute, nullptr));
    return mlp(forgotten_input(norm, attended, compute, nullptr, mlp->askers(compute)));
  }();
  return residual_sum(attended, post_norms ? post_feedforward_layernorm(output.to(torch::kFloat32)) : output);
}

}  // namespace ringflash
