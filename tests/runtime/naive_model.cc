#include "naive_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>

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

/// Each head of a row of heads, rotated.
Row rotated(const Row& x, size_t position, const ModelConfig& c) {
  const auto size = static_cast<size_t>(c.head_dim), half = size / 2;
  Row y(x.size());
  for (size_t i = 0; i < half; ++i) {
    const double angle = double(position) * std::pow(c.rope_theta, -2.0 * double(i) / double(size));
    for (size_t a = i; a < x.size(); a += size) {
      const size_t b = a + half;
      y[a] = x[a] * std::cos(angle) - x[b] * std::sin(angle);
      y[b] = x[b] * std::cos(angle) + x[a] * std::sin(angle);
    }
  }
  return y;
}

/// Whether each position is a global key: in the page of its complete chunk, or a sink.
std::vector<bool> global_keys(const RingGeometry& ring, const std::vector<double>& scores, bool routed) {
  const auto n = static_cast<int64_t>(scores.size());
  std::vector<bool> global(scores.size());
  for (int64_t u = 0; u < std::min(n, ring.sink_tokens); ++u) global[u] = true;
  if (!routed) return global;
  for (int64_t begin = 0; begin + ring.stride <= n; begin += ring.stride) {
    std::vector<int64_t> order(ring.stride);
    std::iota(order.begin(), order.end(), begin);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
    for (int64_t i = 0; i < ring.page_tokens(); ++i) global[order[i]] = true;
  }
  return global;
}

/// One layer's attention before o_proj. x is what q_proj is given.
class Attention {
 public:
  Attention(const ModelConfig& c, const TinyWeights& weights, int64_t layer, const Rows& x)
      : c_(c), ring_layer_(c.attention[layer] == AttentionKind::kRing), routed_(c.has_router(layer)) {
    const auto weight = [&](const char* name) -> const std::vector<float>& {
      return weights.at(layer_tensor(layer, name));
    };
    for (const Row& row : x) {
      q_.push_back(times(weight("self_attn.q_proj.weight"), row));
      k_.push_back(times(weight("self_attn.k_proj.weight"), row));
      v_.push_back(times(weight("self_attn.v_proj.weight"), row));
      if (routed_) r_.push_back(times(weight("self_attn.router.weight"), row));
      q_rotated_.push_back(rotated(q_.back(), q_rotated_.size(), c));
      k_rotated_.push_back(rotated(k_.back(), k_rotated_.size(), c));
    }
  }

  Rows run() const {
    Rows out(q_.size());
    for (int64_t head = 0; head < c_.num_attention_heads; ++head) {
      const int64_t kv = head / c_.heads_per_group();
      std::vector<double> scores(q_.size());
      for (size_t u = 0; routed_ && u < q_.size(); ++u) scores[u] = r_[u][kv];
      const std::vector<bool> global = global_keys(c_.ring, scores, routed_);
      for (size_t t = 0; t < q_.size(); ++t) {
        const Row y = attend(static_cast<int64_t>(t), head, kv, scores, global);
        out[t].insert(out[t].end(), y.begin(), y.end());
      }
    }
    return out;
  }

 private:
  Row attend(int64_t t, int64_t head, int64_t kv, const std::vector<double>& scores,
             const std::vector<bool>& global) const {
    Row out(c_.head_dim);
    double total = 0;
    for (int64_t u = 0; u <= t; ++u) {
      const bool local = !ring_layer_ || c_.ring.chunk(u) >= c_.ring.chunk(t) - c_.ring.band_chunks();
      if (!local && !global[u]) continue;
      const bool rotate = local || c_.ring.global_rope;
      const double* q = (rotate ? q_rotated_ : q_)[t].data() + head * c_.head_dim;
      const double* k = (rotate ? k_rotated_ : k_)[u].data() + kv * c_.head_dim;
      double logit = std::inner_product(q, q + c_.head_dim, k, 0.0) / std::sqrt(double(c_.head_dim));
      if (!local && routed_) logit -= std::log1p(std::exp(-scores[u]));
      const double p = std::exp(logit);
      total += p;
      const double* v = v_[u].data() + kv * c_.head_dim;
      for (size_t i = 0; i < out.size(); ++i) out[i] += p * v[i];
    }
    for (double& x : out) x /= total;
    return out;
  }

  const ModelConfig& c_;
  bool ring_layer_, routed_;
  Rows q_, k_, v_, r_, q_rotated_, k_rotated_;
};

void run_layer(const ModelConfig& c, const TinyWeights& weights, int64_t layer, Rows& hidden) {
  const auto weight = [&](const char* name) -> const std::vector<float>& {
    return weights.at(layer_tensor(layer, name));
  };
  Rows x;
  for (const Row& row : hidden) x.push_back(rms_norm(row, weight("input_layernorm.weight"), c.rms_norm_eps));
  const Rows attended = Attention(c, weights, layer, x).run();
  for (size_t t = 0; t < hidden.size(); ++t) {
    add(times(weight("self_attn.o_proj.weight"), attended[t]), hidden[t]);
    const Row y = rms_norm(hidden[t], weight("post_attention_layernorm.weight"), c.rms_norm_eps);
    const Row up = times(weight("mlp.up_proj.weight"), y);
    Row gate = times(weight("mlp.gate_proj.weight"), y);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
    add(times(weight("mlp.down_proj.weight"), gate), hidden[t]);
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
