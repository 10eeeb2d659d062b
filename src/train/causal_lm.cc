#include "train/causal_lm.h"

#include <cmath>

#include "train/ops/linear_loss.h"
#include "train/sequence_slice.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;

namespace {

constexpr double kEmbeddingDeviation = 0.02;

/// The sum over tokens to keep of |x - wanted|^2 / |wanted|^2, the mean over layers.
Tensor states_error(const std::vector<Tensor>& states, const std::vector<Tensor>& wanted, const Tensor& keep) {
  constexpr double kLeastNorm = 1e-12;
  RF_CHECK(states.size() == wanted.size());
  Tensor sum = torch::zeros({}, states.front().options());
  for (size_t l = 0; l < states.size(); ++l) {
    const Tensor norms = wanted[l].square().sum(1).clamp_min(kLeastNorm);
    sum = sum + ((states[l] - wanted[l]).square().sum(1) / norms * keep).sum();
  }
  return sum / static_cast<double>(states.size());
}

/// Wraps children so that their names come out as "model.layers.0....".
class Container : public torch::nn::Module {};

}  // namespace

CausalLmImpl::CausalLmImpl(const ModelConfig& config, uint64_t seed) : config_(config) {
  const auto model = register_module("model", std::make_shared<Container>());
  const auto embed_tokens = model->register_module("embed_tokens", std::make_shared<Container>());
  embedding_ =
      embed_tokens->register_parameter("weight", torch::empty({config.vocab_size, config.hidden_size}));
  const auto layers = model->register_module("layers", std::make_shared<Container>());
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    layers_.push_back(layers->register_module(std::to_string(layer), DecoderLayer(config, layer)));
  }
  norm_ = model->register_module("norm", RmsNorm(config.hidden_size, config.rms_norm_eps));
  if (!config.tie_word_embeddings) {
    const auto lm_head = register_module("lm_head", std::make_shared<Container>());
    head_ = lm_head->register_parameter("weight", torch::empty({config.vocab_size, config.hidden_size}));
  }
  share_weights();
  draw_weights(seed);
}

void CausalLmImpl::share_weights() {
  for (size_t l = 0; l < layers_.size(); ++l) {
    for (const auto& module : layers_[l]->named_modules()) {
      auto* linear = module.value()->as<LinearImpl>();
      if (linear == nullptr || !linear->borrows()) continue;
      const int64_t owner = config_.sharing.owner(static_cast<int64_t>(l), module.key().substr(module.key().rfind('.') + 1));
      linear->borrow(*layers_[static_cast<size_t>(owner)]->named_modules()[module.key()]->as<LinearImpl>());
    }
  }
}

void CausalLmImpl::draw_weights(uint64_t seed) {
  torch::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(seed);
  const double residual_scale = 1.0 / std::sqrt(2.0 * static_cast<double>(config_.num_hidden_layers));
  for (auto& item : named_parameters()) {
    Tensor& weight = item.value();
    if (weight.dim() < 2) continue;
    if (item.key().ends_with(".delta_a")) {
      weight.zero_();
      continue;
    }
    double deviation = 1.0 / std::sqrt(static_cast<double>(weight.size(1)));
    // Small: through a tied head a token's own logit is sqrt(hidden_size) times this at the start, and should
    // not win.
    if (item.key().find("model.layers.") == std::string::npos) deviation = kEmbeddingDeviation;
    const bool writes_residual = item.key().ends_with("o_proj.weight") || item.key().ends_with("down_proj.weight");
    if (writes_residual) deviation *= residual_scale;
    weight.normal_(0, deviation, generator);
  }
}

void CausalLmImpl::share_rows(const SequenceSlice* slice) {
  slice_ = slice;
  for (DecoderLayer& layer : layers_) layer->self_attn->slice = slice;
}

Tensor CausalLmImpl::embed(const Tensor& ids, const std::vector<int64_t>& bounds) {
  const Tensor own = torch::embedding(embedding_, ids) * config_.embedding_multiplier;
  const int64_t shift = config_.embedding_shift;
  if (shift == 0) return own;
  const Tensor before = torch::embedding(embedding_, previous_token(ids)) * config_.embedding_multiplier;
  const std::vector<Tensor> parts = own.split({own.size(1) - shift, shift}, 1);
  const Tensor shifted = torch::cat({before.slice(1, own.size(1) - shift), parts[1].slice(0, 0, ids.size(0) - 1)});
  return torch::cat({parts[0], shifted.index_fill(0, first_tokens(ids, bounds), 0)}, 1);
}

/// [1]: the token before the first; any, where that begins a document.
Tensor CausalLmImpl::previous_token(const Tensor& ids) const {
  return slice_ == nullptr ? ids.slice(0, 0, 1) : slice_->previous(ids);
}

/// Which of the tokens begin documents.
Tensor CausalLmImpl::first_tokens(const Tensor& ids, const std::vector<int64_t>& bounds) const {
  const int64_t begin = slice_ == nullptr ? 0 : slice_->first();
  std::vector<int64_t> firsts;
  for (const int64_t bound : bounds) {
    if (bound >= begin && bound < begin + ids.size(0)) firsts.push_back(bound - begin);
  }
  return torch::tensor(firsts, ids.options());
}

Tensor CausalLmImpl::hidden_states(const Tensor& ids, const std::vector<int64_t>& bounds, torch::ScalarType compute,
                                   std::vector<Tensor>* returned) {
  Tensor x = embed(ids, bounds);
  for (DecoderLayer& layer : layers_) {
    x = layer(x, bounds, compute);
    if (returned != nullptr) returned->push_back(x);
  }
  return norm_(x);
}

Tensor CausalLmImpl::head(const Tensor& hidden, torch::ScalarType compute) {
  return torch::linear(hidden.to(compute), head_weight().to(compute)).to(torch::kFloat32);
}

Tensor CausalLmImpl::logits(const Tensor& ids, const std::vector<int64_t>& bounds,
                            torch::ScalarType compute) {
  return head(hidden_states(ids, bounds, compute), compute);
}

Tensor CausalLmImpl::loss_sum(const Tensor& ids, const Tensor& targets, const std::vector<int64_t>& bounds,
                              torch::ScalarType compute) {
  return linear_cross_entropy(hidden_states(ids, bounds, compute), head_weight(), targets, compute);
}

Tensor CausalLmImpl::distillation_sum(CausalLmImpl& teacher, const DistillWeights& weights, const Tensor& ids,
                                      const Tensor& targets, const std::vector<int64_t>& bounds, torch::ScalarType compute) {
  const bool compares_states = weights.states > 0;
  std::vector<Tensor> own, wanted;
  Teacher opinion{.hidden = {}, .head = teacher.head_weight(), .weight = weights.opinion};
  {
    torch::NoGradGuard no_grad;
    opinion.hidden = teacher.hidden_states(ids, bounds, compute, compares_states ? &wanted : nullptr);
  }
  const Tensor hidden = hidden_states(ids, bounds, compute, compares_states ? &own : nullptr);
  const Tensor loss = linear_distillation(hidden, head_weight(), targets, opinion, compute);
  return compares_states ? loss + weights.states * states_error(own, wanted, targets.ge(0)) : loss;
}

}  // namespace ringflash
