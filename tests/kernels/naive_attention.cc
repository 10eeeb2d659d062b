#include "kernels/naive_attention.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <numeric>

#include "base/ceil_div.h"
#include "kernels/page_index.h"

namespace ringflash::testing {
namespace {

using kernels::AttentionShape;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

size_t at(int64_t i) {
  return static_cast<size_t>(i);
}

struct Document {
  int64_t begin, end;
};

Document document_of(const NaiveInput& input, int64_t row) {
  const auto after = std::upper_bound(input.bounds.begin(), input.bounds.end(), row);
  return {*(after - 1), *after};
}

double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

/// One head vector, each pair (i, i + half) turned as a complex number; sign -1 turns it back.
std::vector<double> rotate(const AttentionShape& shape, const double* x, int64_t position, double sign) {
  const int64_t half = shape.head_dim / 2;
  std::vector<double> y(at(shape.head_dim));
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dim);
    const double angle = sign * static_cast<double>(position) * std::pow(shape.rope.theta, exponent);
    const std::complex<double> turned = std::complex<double>(x[i], x[i + half]) * std::polar(1.0, angle);
    y[at(i)] = turned.real();
    y[at(i + half)] = turned.imag();
  }
  return y;
}

/// Every head vector of `x`, [tokens, heads, head_dim], turned to its place in its document.
std::vector<double> rotate_all(const NaiveInput& input, const std::vector<double>& x, int64_t heads,
                               double sign) {
  const int64_t head_dim = input.shape.head_dim;
  std::vector<double> y;
  for (int64_t t = 0; t < input.shape.tokens; ++t) {
    const int64_t position = t - document_of(input, t).begin;
    for (int64_t h = 0; h < heads; ++h) {
      const std::vector<double> row =
          rotate(input.shape, x.data() + (t * heads + h) * head_dim, position, sign);
      y.insert(y.end(), row.begin(), row.end());
    }
  }
  return y;
}

struct Pair {
  int64_t u;           ///< key row of the batch
  int64_t biased_row;  ///< whose router score the logit carries, or -1
  bool rotated;
  double p;
};

/// Walks over all queries; `visit(t, h, lse, pairs)` gets the softmax of each.
template <typename Visit>
void for_each_query(const NaiveInput& input, const std::vector<double>& q_rotated,
                    const std::vector<double>& k_rotated, Visit visit) {
  const AttentionShape& shape = input.shape;
  const int64_t kv_heads = shape.key_value_heads, head_dim = shape.head_dim;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  for (int64_t h = 0; h < shape.heads; ++h) {
    const int64_t kv = h / (shape.heads / kv_heads);
    const NaivePages pages = naive_pages(input, kv);
    for (int64_t t = 0; t < shape.tokens; ++t) {
      std::vector<Pair> pairs;
      double maximum = -kInfinity, total = 0;
      for (int64_t u = document_of(input, t).begin; u < document_of(input, t).end; ++u) {
        const Visibility seen = visibility(input, pages, t, u);
        if (seen == Visibility::kNone) continue;
        const bool rotated = seen == Visibility::kLocal || shape.ring.global_rope;
        const bool biased = seen != Visibility::kLocal && !input.router.empty();
        const int64_t biased_row = !biased ? -1 : seen == Visibility::kAsked ? t : u;
        const double* q = (rotated ? q_rotated : input.q).data() + (t * shape.heads + h) * head_dim;
        const double* k = (rotated ? k_rotated : input.k).data() + (u * kv_heads + kv) * head_dim;
        double logit = 0;
        for (int64_t i = 0; i < head_dim; ++i) logit += scale * q[i] * k[i];
        if (biased) logit += std::log(sigmoid(input.router[at(biased_row * kv_heads + kv)]));
        pairs.push_back({u, biased_row, rotated, logit});
        maximum = std::max(maximum, logit);
      }
      for (Pair& pair : pairs) total += (pair.p = std::exp(pair.p - maximum));
      for (Pair& pair : pairs) pair.p /= total;
      visit(t, h, maximum + std::log(total), pairs);
    }
  }
}

std::vector<bool> paged_rows(const NaiveInput& input, int64_t kv_head) {
  std::vector<bool> paged(at(input.shape.tokens), false);
  if (input.router.empty()) return paged;
  const int64_t stride = input.shape.ring.stride, kv_heads = input.shape.key_value_heads;
  const double wanted = input.shape.ring.global_ratio * static_cast<double>(stride);
  for (size_t d = 0; d + 1 < input.bounds.size(); ++d) {
    for (int64_t chunk = input.bounds[d]; chunk + stride <= input.bounds[d + 1]; chunk += stride) {
      for (int64_t u = chunk; u < chunk + stride; ++u) {
        int64_t better = 0;  // a token is kept if fewer than the wanted number beat it
        for (int64_t other = chunk; other < chunk + stride; ++other) {
          const double r = input.router[at(u * kv_heads + kv_head)];
          const double r_other = input.router[at(other * kv_heads + kv_head)];
          better += r_other > r || (r_other == r && other < u);
        }
        paged[at(u)] =
            static_cast<double>(better) < wanted - 1e-9;  // slack for 0.05 * 60 = 3.0000000000000004
      }
    }
  }
  return paged;
}

using Vector = std::vector<double>;

double score(const Vector& query, const Vector& mean) {
  return std::inner_product(query.begin(), query.end(), mean.begin(), 0.0);
}

/// Rounded to bf16, as the index keeps it.
Vector mean_of(const std::vector<Vector>& rows) {
  Vector mean(rows.front().size());
  for (const Vector& row : rows) {
    for (size_t i = 0; i < mean.size(); ++i) mean[i] += row[i] / static_cast<double>(rows.size());
  }
  for (double& x : mean) x = to_float(to_bf16(static_cast<float>(x)));
  return mean;
}

/// The `count` items with the best scores.
std::vector<int64_t> best_of(std::vector<std::pair<double, int64_t>> scored, int64_t count) {
  std::sort(scored.begin(), scored.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  if (std::ssize(scored) > count) scored.resize(at(count));
  std::vector<int64_t> items;
  for (const auto& [unused, item] : scored) items.push_back(item);
  return items;
}

/// The two-level rule of kernels::PageIndex, for a query and the mean keys of the pages it may see.
std::vector<int64_t> choose_pages(const Vector& query, const std::vector<Vector>& means, int64_t budget) {
  const int64_t pages = std::ssize(means), group = kernels::PageIndex::kGroup, groups = pages / group;
  std::vector<std::pair<double, int64_t>> scored;
  for (int64_t i = 0; i < groups; ++i) {
    scored.emplace_back(score(query, mean_of({means.begin() + i * group, means.begin() + (i + 1) * group})),
                        i);
  }
  std::vector<int64_t> candidates;
  for (const int64_t i : best_of(scored, ceil_div(2 * budget, group))) {
    for (int64_t page = i * group; page < (i + 1) * group; ++page) candidates.push_back(page);
  }
  for (int64_t page = groups * group; page < pages; ++page) candidates.push_back(page);
  scored.clear();
  for (const int64_t page : candidates) scored.emplace_back(score(query, means[at(page)]), page);
  return pages <= budget ? best_of(scored, pages) : best_of(scored, budget);
}

/// The sum of the group's query heads at row t, and one key, as global logits have them.
Vector group_query(const NaiveInput& input, int64_t kv_head, int64_t t) {
  const AttentionShape& shape = input.shape;
  const int64_t group = shape.heads / shape.key_value_heads, d = shape.head_dim;
  Vector sum(at(d));
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const double* q = input.q.data() + (t * shape.heads + h) * d;
    const int64_t position = t - document_of(input, t).begin;
    const Vector row = shape.ring.global_rope ? rotate(shape, q, position, 1) : Vector(q, q + d);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += row[i];
  }
  return sum;
}

Vector global_key(const NaiveInput& input, int64_t kv_head, int64_t u) {
  const double* k = input.k.data() + (u * input.shape.key_value_heads + kv_head) * input.shape.head_dim;
  if (input.shape.ring.global_rope) return rotate(input.shape, k, u - document_of(input, u).begin, 1);
  return {k, k + input.shape.head_dim};
}

}  // namespace

NaivePages naive_pages(const NaiveInput& input, int64_t kv_head) {
  NaivePages pages{.paged = paged_rows(input, kv_head),
                   .chosen = std::vector<std::vector<int64_t>>(at(input.shape.tokens))};
  const kernels::AttentionShape& shape = input.shape;
  if (input.router.empty() || shape.ring.select == GlobalSelect::kAll) return pages;
  const int64_t stride = shape.ring.stride, m = shape.ring.window / stride;
  for (int64_t t = 0; t < shape.tokens; ++t) {
    const int64_t begin = document_of(input, t).begin, chunk = (t - begin) / stride;
    const int64_t in_chunk = (t - begin) % stride;
    const int64_t first = t - in_chunk % shape.ring.top_pages_run;  // of the run, whose query chooses
    std::vector<Vector> means;
    for (int64_t j = 0; j < chunk - m; ++j) {
      std::vector<Vector> keys;
      for (int64_t u = begin + j * stride; u < begin + (j + 1) * stride; ++u) {
        if (pages.paged[at(u)]) keys.push_back(global_key(input, kv_head, u));
      }
      means.push_back(mean_of(keys));
    }
    const auto levels = static_cast<int64_t>(std::ceil(std::log2(static_cast<double>(chunk + 1))));
    if (!means.empty()) {
      pages.chosen[at(t)] =
          choose_pages(group_query(input, kv_head, first), means, shape.ring.top_pages_factor * levels);
    }
  }
  return pages;
}

Visibility visibility(const NaiveInput& input, const NaivePages& pages, int64_t t, int64_t u) {
  const AttentionShape& shape = input.shape;
  const Document document = document_of(input, t);
  if (u < document.begin || u >= document.end) return Visibility::kNone;
  const int64_t stride = shape.ring.stride, m = shape.ring.window / stride;
  const int64_t chunk_t = (t - document.begin) / stride, chunk_u = (u - document.begin) / stride;
  if (shape.mode == AttentionMode::kBidirectional) {
    if (shape.kind == AttentionKind::kFull) return Visibility::kLocal;
    const int64_t chunks = ceil_div(document.end - document.begin, stride);
    const int64_t apart = std::abs(chunk_t - chunk_u);
    if (std::min(apart, chunks - apart) <= m) return Visibility::kLocal;
    if (pages.paged[at(t)]) return Visibility::kAsked;
    return pages.paged[at(u)] ? Visibility::kGlobal : Visibility::kNone;
  }
  if (u > t) return Visibility::kNone;
  if (shape.kind == AttentionKind::kSliding) {
    return t - u < shape.sliding_window ? Visibility::kLocal : Visibility::kNone;
  }
  if (shape.kind == AttentionKind::kFull || chunk_u >= chunk_t - m) return Visibility::kLocal;
  if (u - document.begin < shape.ring.sink_tokens) return Visibility::kGlobal;
  if (!pages.paged[at(u)]) return Visibility::kNone;
  const std::vector<int64_t>& chosen = pages.chosen[at(t)];
  const bool read = shape.ring.select == GlobalSelect::kAll ||
                    std::find(chosen.begin(), chosen.end(), chunk_u) != chosen.end();
  return read ? Visibility::kGlobal : Visibility::kNone;
}

NaiveOutput naive_attention(const NaiveInput& input) {
  const AttentionShape& shape = input.shape;
  const int64_t head_dim = shape.head_dim;
  NaiveOutput result{std::vector<double>(input.q.size()),
                     std::vector<double>(at(shape.tokens * shape.heads))};
  const auto q_rotated = rotate_all(input, input.q, shape.heads, 1);
  const auto k_rotated = rotate_all(input, input.k, shape.key_value_heads, 1);
  for_each_query(input, q_rotated, k_rotated,
                 [&](int64_t t, int64_t h, double lse, const std::vector<Pair>& pairs) {
                   const int64_t kv = h / (shape.heads / shape.key_value_heads), row = t * shape.heads + h;
                   result.lse[at(row)] = lse;
                   for (const Pair& pair : pairs) {
                     for (int64_t i = 0; i < head_dim; ++i) {
                       result.out[at(row * head_dim + i)] +=
                           pair.p * input.v[at((pair.u * shape.key_value_heads + kv) * head_dim + i)];
                     }
                   }
                 });
  return result;
}

NaiveGradients naive_gradients(const NaiveInput& input, const std::vector<double>& dout) {
  const AttentionShape& shape = input.shape;
  const int64_t head_dim = shape.head_dim, kv_heads = shape.key_value_heads;
  const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim));
  NaiveGradients grad{std::vector<double>(input.q.size()), std::vector<double>(input.k.size()),
                      std::vector<double>(input.v.size()), std::vector<double>(input.router.size()),
                      std::vector<double>(at(shape.tokens * kv_heads))};
  const auto q_rotated = rotate_all(input, input.q, shape.heads, 1);
  const auto k_rotated = rotate_all(input, input.k, kv_heads, 1);
  std::vector<double> dq_rotated(input.q.size()), dk_rotated(input.k.size());
  for_each_query(
      input, q_rotated, k_rotated, [&](int64_t t, int64_t h, double, const std::vector<Pair>& pairs) {
        const int64_t kv = h / (shape.heads / kv_heads), q_row = (t * shape.heads + h) * head_dim;
        std::vector<double> dp(pairs.size());
        double mean_dp = 0;
        for (size_t j = 0; j < pairs.size(); ++j) {
          const int64_t k_row = (pairs[j].u * kv_heads + kv) * head_dim;
          for (int64_t i = 0; i < head_dim; ++i) dp[j] += dout[at(q_row + i)] * input.v[at(k_row + i)];
          mean_dp += pairs[j].p * dp[j];
        }
        for (size_t j = 0; j < pairs.size(); ++j) {
          const Pair& pair = pairs[j];
          const int64_t kv_row = pair.u * kv_heads + kv, k_row = kv_row * head_dim;
          const double dlogit = pair.p * (dp[j] - mean_dp);
          grad.key_mass[at(kv_row)] += pair.p;
          for (int64_t i = 0; i < head_dim; ++i) {
            grad.v[at(k_row + i)] += pair.p * dout[at(q_row + i)];
            auto& dq = pair.rotated ? dq_rotated : grad.q;
            auto& dk = pair.rotated ? dk_rotated : grad.k;
            dq[at(q_row + i)] += scale * dlogit * (pair.rotated ? k_rotated : input.k)[at(k_row + i)];
            dk[at(k_row + i)] += scale * dlogit * (pair.rotated ? q_rotated : input.q)[at(q_row + i)];
          }
          if (pair.biased_row >= 0) {
            const size_t score = at(pair.biased_row * kv_heads + kv);
            grad.router[score] += dlogit * (1.0 - sigmoid(input.router[score]));
          }
        }
      });
  dq_rotated = rotate_all(input, dq_rotated, shape.heads, -1);
  dk_rotated = rotate_all(input, dk_rotated, kv_heads, -1);
  for (size_t i = 0; i < grad.q.size(); ++i) grad.q[i] += dq_rotated[i];
  for (size_t i = 0; i < grad.k.size(); ++i) grad.k[i] += dk_rotated[i];
  return grad;
}

}  // namespace ringflash::testing
