#include "naive_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/naive_attention.h"
#include "model/tensors.h"

namespace ringflash::testing {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

Row times(const std::vector<float>& w, const Row& x) {
  Row y(w.size() / x.size());
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += double{w[o * x.size() + i]} * x[i];
  }
  return y;
}

Row rms_norm(const Row& x, const std::vector<float>& gain, double eps) {
  const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] / std::sqrt(squares / double(x.size()) + eps) * gain[i];
  return y;
}

void add(const Row& x, Row& y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] += x[i];
}

void append(const Row& x, Row& all) {
  all.insert(all.end(), x.begin(), x.end());
}

/// x (W + A B)^T of the layer's matrix of this kind, W being its own or that of its group.
Row multiply(const ModelConfig& c, const TinyWeights& weights, int64_t layer, const std::string& kind, const Row& x) {
  const LinearTensors names = linear_tensors(c, layer, kind);
  Row y = times(weights.at(names.weight), x);
  if (!names.delta_a.empty()) add(times(weights.at(names.delta_a), times(weights.at(names.delta_b), x)), y);
  return y;
}

/// x W^T, with what the model adds to it, and its heads normed where they are.
Row project(const ModelConfig& c, const TinyWeights& weights, int64_t layer, const std::string& name, const Row& x) {
  const auto weight = [&](const std::string& suffix) -> const std::vector<float>& {
    return weights.at(layer_tensor(layer, "self_attn." + name + suffix));
  };
  Row y = multiply(c, weights, layer, name + "_proj", x);
  if (c.attention_bias) {
    const std::vector<float>& bias = weight("_proj.bias");
    for (size_t i = 0; i < y.size(); ++i) y[i] += bias[i];
  }
  if (!c.qk_norm || name == "v") return y;
  Row normed;
  for (auto head = y.begin(); head != y.end(); head += c.head_dim) {
    append(rms_norm(Row(head, head + c.head_dim), weight("_norm.weight"), c.rms_norm_eps), normed);
  }
  return normed;
}

double activated(const ModelConfig& c, double x) {
  if (c.hidden_act == Activation::kSilu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

/// One layer's attention before o_proj. x is what q_proj is given.
Rows attend(const ModelConfig& c, const TinyWeights& weights, int64_t layer, const Rows& x) {
  const auto weight = [&](const char* name) -> const std::vector<float>& {
    return weights.at(layer_tensor(layer, name));
  };
  const auto tokens = static_cast<int64_t>(x.size());
  NaiveInput input{.shape = {.tokens = tokens,
                             .heads = c.num_attention_heads,
                             .key_value_heads = c.num_key_value_heads,
                             .head_dim = c.head_dim,
                             .rope = c.rope(c.attention[layer]),
                             .kind = c.attention[layer],
                             .mode = c.attention_mode,
                             .ring = c.ring,
                             .sliding_window = c.sliding_window},
                   .bounds = {0, tokens},
                   .q = {},
                   .k = {},
                   .v = {},
                   .router = {}};
  for (const Row& row : x) {
    append(project(c, weights, layer, "q", row), input.q);
    append(project(c, weights, layer, "k", row), input.k);
    append(project(c, weights, layer, "v", row), input.v);
    if (c.has_router(layer)) append(times(weight("self_attn.router.weight"), row), input.router);
  }
  const Row out = naive_attention(input).out;
  Rows rows;
  for (auto row = out.begin(); row != out.end(); row += c.query_size())
    rows.emplace_back(row, row + c.query_size());
  return rows;
}

void run_layer(const ModelConfig& c, const TinyWeights& weights, int64_t layer, Rows& hidden) {
  const auto weight = [&](const char* name) -> const std::vector<float>& {
    return weights.at(layer_tensor(layer, name));
  };
  Rows x;
  for (const Row& row : hidden) x.push_back(rms_norm(row, weight("input_layernorm.weight"), c.rms_norm_eps));
  const Rows attended = attend(c, weights, layer, x);
  for (size_t t = 0; t < hidden.size(); ++t) {
    const auto add_output = [&](Row output, const char* norm) {
      if (c.post_norms) output = rms_norm(output, weight(norm), c.rms_norm_eps);
      add(output, hidden[t]);
    };
    add_output(multiply(c, weights, layer, "o_proj", attended[t]), "post_attention_layernorm.weight");
    const char* norm = c.post_norms ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
    const Row y = rms_norm(hidden[t], weight(norm), c.rms_norm_eps);
    const Row up = multiply(c, weights, layer, "up_proj", y);
    Row gate = multiply(c, weights, layer, "gate_proj", y);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = activated(c, gate[i]) * up[i];
    add_output(multiply(c, weights, layer, "down_proj", gate), "post_feedforward_layernorm.weight");
  }
}

}  // namespace

std::vector<double> naive_logits(const ModelConfig& c, const TinyWeights& weights,
                                 const std::vector<int32_t>& ids) {
  const std::vector<float>& embedding = weights.at(kEmbeddingTensor);
  Rows hidden;
  for (const int32_t id : ids) {
    const auto row = embedding.begin() + id * c.hidden_size;
    hidden.emplace_back(row, row + c.hidden_size);
    for (double& x : hidden.back()) x *= c.embedding_multiplier;
  }
  const Rows own = hidden;
  for (size_t t = 0; t < ids.size(); ++t) {
    for (int64_t i = c.hidden_size - c.embedding_shift; i < c.hidden_size; ++i) hidden[t][i] = t == 0 ? 0 : own[t - 1][i];
  }
  for (int64_t layer = 0; layer < c.num_hidden_layers; ++layer) run_layer(c, weights, layer, hidden);
  std::vector<double> logits;
  for (const Row& row : hidden) {
    const Row normed = rms_norm(row, weights.at(kFinalNormTensor), c.rms_norm_eps);
    const Row out = times(c.tie_word_embeddings ? embedding : weights.at(kHeadTensor), normed);
    logits.insert(logits.end(), out.begin(), out.end());
  }
  return logits;
}

}  // namespace ringflash::testing
