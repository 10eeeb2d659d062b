#include "bench/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/float16.h"

namespace ringflash::bench {
namespace {

template <typename T>
double dot(const std::vector<float>& a, const std::vector<T>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

/// How far a dot product of rounded factors may be off, in units of their relative error: it may itself be near 0.
template <typename T>
double dot_spread(const std::vector<float>& a, const std::vector<T>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) * b[i], 2);
  return std::sqrt(sum);
}

/// log sigma(r).
double bias_of(double r) {
  return r < 0 ? r - std::log1p(std::exp(r)) : -std::log1p(std::exp(-r));
}

/// In place: logits become probabilities.
void softmax(std::vector<double>& logits) {
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (double& x : logits) sum += x = std::exp(x - most);
  for (double& x : logits) x /= sum;
}

}  // namespace

AttentionReference::AttentionReference(const kernels::AttentionShape& shape, const AttentionInputs& inputs,
                                       bool round_to_bf16)
    : shape_(shape),
      inputs_(inputs),
      round_(round_to_bf16),
      rope_(kernels::shared_rope_table(shape.tokens, shape.head_dim, shape.rope)) {
  for (int64_t head = 0; head < shape.key_value_heads; ++head) pages_.push_back(select_pages(head));
}

AttentionReference::Pages AttentionReference::select_pages(int64_t key_value_head) const {
  const RingGeometry& ring = shape_.ring;
  Pages pages{.positions = {}, .index = kernels::PageIndex(shape_.head_dim)};
  std::vector<int32_t> page(static_cast<size_t>(ring.page_tokens()));
  if (shape_.kind != AttentionKind::kRing || page.empty()) return pages;
  for (int64_t first = 0; first + ring.stride <= shape_.tokens; first += ring.stride) {
    const float* scores = inputs_.router.data() + first * shape_.key_value_heads + key_value_head;
    kernels::select_page(scores, shape_.key_value_heads, ring, page);
    std::vector<int64_t>& positions = pages.positions.emplace_back();
    std::vector<float> keys;
    for (const int32_t offset : page) {
      positions.push_back(first + offset);
      const int64_t at = ((first + offset) * shape_.key_value_heads + key_value_head) * shape_.head_dim;
      const std::vector<float> k = turn(inputs_.k.data() + at, first + offset, ring.global_rope);
      keys.insert(keys.end(), k.begin(), k.end());
    }
    pages.index.add_page(keys);
  }
  return pages;
}

std::vector<int32_t> AttentionReference::chosen_pages(int64_t position, int64_t key_value_head,
                                                      int64_t pages) const {
  const RingGeometry& ring = shape_.ring;
  const Pages& all = pages_[static_cast<size_t>(key_value_head)];
  if (all.positions.empty() || pages == 0) return {};
  std::vector<int32_t> chosen(static_cast<size_t>(pages));
  std::iota(chosen.begin(), chosen.end(), 0);
  if (ring.select == GlobalSelect::kAll) return chosen;
  // The first query of the run chooses for all of it, with the sum of its heads.
  const int64_t in_chunk = position % ring.stride;
  const int64_t chooser = position - in_chunk % ring.top_pages_run;
  const int64_t heads = shape_.heads / shape_.key_value_heads;
  std::vector<float> queries;
  for (int64_t h = 0; h < heads; ++h) {
    const float* q = inputs_.q.data() + query_offset(chooser, key_value_head * heads + h);
    const std::vector<float> turned = turn(q, chooser, ring.global_rope);
    queries.insert(queries.end(), turned.begin(), turned.end());
  }
  const int64_t budget = ring.page_budget(ring.chunk(position) + 1);
  all.index.choose(kernels::sum_heads(queries, shape_.head_dim), pages, budget, chosen);
  return chosen;
}

std::vector<AttentionReference::Key> AttentionReference::visible(int64_t position,
                                                                 int64_t key_value_head) const {
  const RingGeometry& ring = shape_.ring;
  const bool is_ring = shape_.kind == AttentionKind::kRing;
  const int64_t behind = is_ring ? std::max<int64_t>(ring.chunk(position) - ring.band_chunks(), 0) : 0;
  std::vector<Key> keys;
  for (int64_t sink = 0; behind > 0 && sink < ring.sink_tokens; ++sink) keys.push_back({sink, true});
  for (const int32_t page : chosen_pages(position, key_value_head, behind)) {
    for (const int64_t u : pages_[static_cast<size_t>(key_value_head)].positions[static_cast<size_t>(page)]) {
      if (u >= ring.sink_tokens) keys.push_back({u, true});  // a sink counts once
    }
  }
  for (int64_t u = behind * ring.stride; u <= position; ++u) keys.push_back({u, false});
  return keys;
}

std::vector<float> AttentionReference::turn(const float* source, int64_t position, bool rotated) const {
  std::vector<float> vector(source, source + shape_.head_dim);
  if (rotated) kernels::rope_rotate(source, vector.data(), *rope_, position);
  return vector;
}

std::vector<float> AttentionReference::load(const float* source, int64_t position, bool rotated) const {
  std::vector<float> vector = turn(source, position, rotated);
  if (!round_) return vector;
  for (float& x : vector) x = to_float(to_bf16(x));
  return vector;
}

std::vector<float> AttentionReference::key(const Key& key, int64_t head) const {
  return load(inputs_.k.data() + key_offset(key, head), key.position, is_rotated(key));
}

std::vector<float> AttentionReference::value(const Key& key, int64_t head) const {
  return load(inputs_.v.data() + key_offset(key, head), key.position, false);
}

std::vector<double> AttentionReference::probabilities(int64_t position, int64_t head,
                                                      const std::vector<Key>& keys) const {
  const double scale = 1 / std::sqrt(static_cast<double>(shape_.head_dim));
  const float* q = inputs_.q.data() + query_offset(position, head);
  const std::vector<float> rotated = load(q, position, true), plain = load(q, position, false);
  std::vector<double> p;
  for (const Key& u : keys) {
    p.push_back(scale * dot(key(u, head), is_rotated(u) ? rotated : plain));
    if (u.global && shape_.ring.page_tokens() > 0) {
      p.back() += bias_of(inputs_.router[static_cast<size_t>(u.position * shape_.key_value_heads + group(head))]);
    }
  }
  softmax(p);
  return p;
}

/// dq = scale * sum_u p_u (dout.v_u - dout.out) k_u, where k_u is rotated turned back with the query's rotation.
void AttentionReference::add_dq(int64_t position, int64_t head, const std::vector<Key>& keys,
                                const std::vector<double>& p, ReferenceRow& row) const {
  const double scale = 1 / std::sqrt(static_cast<double>(shape_.head_dim));
  const float* source = inputs_.dout.data() + query_offset(position, head);
  const std::vector<float> dout(source, source + shape_.head_dim);
  const double delta = dot(dout, row.out), delta_spread = dot_spread(dout, row.out);
  std::vector<double> rotated(dout.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::vector<float> k = key(keys[i], head);
    const std::vector<float> v = value(keys[i], head);
    const double dp = dot(dout, v);
    std::vector<double>& sum = is_rotated(keys[i]) ? rotated : row.dq;
    for (size_t c = 0; c < k.size(); ++c) sum[c] += scale * p[i] * (dp - delta) * k[c];
    const double term = scale * p[i] * (dot_spread(dout, v) + delta_spread);
    row.dq_spread += term * term * dot(k, k);
  }
  row.dq_spread = std::sqrt(row.dq_spread);
  std::vector<float> turned(rotated.begin(), rotated.end());
  kernels::rope_unrotate(turned.data(), turned.data(), *rope_, position);
  for (size_t c = 0; c < turned.size(); ++c) row.dq[c] += turned[c];
}

ReferenceRow AttentionReference::row(int64_t position, int64_t head) const {
  const auto width = static_cast<size_t>(shape_.head_dim);
  const std::vector<Key> keys = visible(position, group(head));
  const std::vector<double> p = probabilities(position, head, keys);
  ReferenceRow row{std::vector<double>(width), std::vector<double>(width), 0, 0};
  for (size_t i = 0; i < keys.size(); ++i) {
    const std::vector<float> v = value(keys[i], head);
    for (size_t c = 0; c < width; ++c) row.out[c] += p[i] * v[c];
    row.out_spread += p[i] * p[i] * dot(v, v);
  }
  row.out_spread = std::sqrt(row.out_spread);
  add_dq(position, head, keys, p, row);
  return row;
}

}  // namespace ringflash::bench
