#include "kernels/naive_attention.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>

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
    const double angle = sign * static_cast<double>(position) * std::pow(shape.rope_theta, exponent);
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
  int64_t u;  ///< key row of the batch
  bool global;
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
    const std::vector<bool> paged = paged_rows(input, kv);
    for (int64_t t = 0; t < shape.tokens; ++t) {
      std::vector<Pair> pairs;
      double maximum = -kInfinity, total = 0;
      for (int64_t u = document_of(input, t).begin; u <= t; ++u) {
        const Visibility seen = visibility(input, paged, t, u);
        if (seen == Visibility::kNone) continue;
        const bool global = seen == Visibility::kGlobal;
        const bool rotated = !global || shape.ring.global_rope;
        const double* q = (rotated ? q_rotated : input.q).data() + (t * shape.heads + h) * head_dim;
        const double* k = (rotated ? k_rotated : input.k).data() + (u * kv_heads + kv) * head_dim;
        double logit = 0;
        for (int64_t i = 0; i < head_dim; ++i) logit += scale * q[i] * k[i];
        if (global && !input.router.empty()) logit += std::log(sigmoid(input.router[at(u * kv_heads + kv)]));
        pairs.push_back({u, global, rotated, logit});
        maximum = std::max(maximum, logit);
      }
      for (Pair& pair : pairs) total += (pair.p = std::exp(pair.p - maximum));
      for (Pair& pair : pairs) pair.p /= total;
      visit(t, h, maximum + std::log(total), pairs);
    }
  }
}

}  // namespace

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

Visibility visibility(const NaiveInput& input, const std::vector<bool>& paged, int64_t t, int64_t u) {
  const Document document = document_of(input, t);
  if (u > t || u < document.begin) return Visibility::kNone;
  if (input.shape.kind == AttentionKind::kFull) return Visibility::kLocal;
  const int64_t stride = input.shape.ring.stride, m = input.shape.ring.window / stride;
  const int64_t position_t = t - document.begin, position_u = u - document.begin;
  if (position_u / stride >= position_t / stride - m) return Visibility::kLocal;
  return paged[at(u)] || position_u < input.shape.ring.sink_tokens ? Visibility::kGlobal : Visibility::kNone;
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
          if (pair.global && !input.router.empty()) {
            grad.router[at(kv_row)] += dlogit * (1.0 - sigmoid(input.router[at(kv_row)]));
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
