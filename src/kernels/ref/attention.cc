#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double dot(const float* a, const float* b, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

const float* query_row(const QueryBlock& queries, const KeySpan& span, int64_t t, int64_t h) {
  const float* token = span.global ? queries.q_global + t * queries.global_token_stride
                                   : queries.q + t * queries.token_stride;
  return token + h * queries.head_stride;
}

/// One past the last key that query token t sees.
int64_t end_of_view(const KeySpan& span, int64_t t) {
  return std::min(span.end, span.visible + t);
}

/// The first one.
int64_t begin_of_view(const KeySpan& span, int64_t t) {
  return span.window > 0 ? std::max(span.begin, span.visible + t - span.window) : span.begin;
}

const float* key_row(const KeySpan& span, int64_t j, int64_t head_dim) {
  return static_cast<const float*>(span.rows.k) + j * padded_dim(head_dim);
}

double value(const KeySpan& span, int64_t j, int64_t i) {
  const KeyRows& rows = span.rows;
  const auto* v = static_cast<const float*>(rows.v);
  return static_cast<double>(v[j / kBlockKeys * rows.v_block + i * rows.v_row + j % kBlockKeys]);
}

double logit(const QueryBlock& queries, const KeySpan& span, int64_t t, int64_t h, int64_t j) {
  const double bias = (span.bias ? static_cast<double>(span.bias[j]) : 0.0) +
                      (span.query_bias ? static_cast<double>(span.query_bias[t]) : 0.0);
  const float* k = key_row(span, j, queries.head_dim);
  return static_cast<double>(queries.scale) * dot(query_row(queries, span, t, h), k, queries.head_dim) + bias;
}

/// One row of the incoming gradient, with what every key needs of it.
struct RowGradient {
  const float* dout;
  double lse;
  double dout_dot_out;  ///< sum_u p_u dp_u, by the definition of out
};

RowGradient row_gradient(const QueryBlock& queries, const AttentionGradInput& input, int64_t t, int64_t h) {
  const int64_t offset = t * input.token_stride + h * input.head_stride;
  return {.dout = input.dout + offset,
          .lse = static_cast<double>(input.lse[t * input.lse_token_stride + h]),
          .dout_dot_out = dot(input.dout + offset, input.out + offset, queries.head_dim)};
}

struct PairGradient {
  double p = 0;       ///< the probability
  double dlogit = 0;  ///< p (dp - sum_u p_u dp_u)
};

PairGradient pair_gradient(const QueryBlock& queries, const KeySpan& span, const RowGradient& row, int64_t t,
                           int64_t h, int64_t j) {
  const double p = std::exp(logit(queries, span, t, h, j) - row.lse);
  double dp = 0;
  for (int64_t i = 0; i < queries.head_dim; ++i) dp += static_cast<double>(row.dout[i]) * value(span, j, i);
  return {.p = p, .dlogit = p * (dp - row.dout_dot_out)};
}

void add_query_gradient(const QueryBlock& queries, std::span<const KeySpan> spans, const RowGradient& row,
                        const QueryGrad& query_grad, int64_t t, int64_t h, std::vector<double>& sum) {
  const auto scale = static_cast<double>(queries.scale);
  for (const bool global : {false, true}) {
    float* target = global ? query_grad.dq_global : query_grad.dq;
    if (target == nullptr) continue;
    std::fill(sum.begin(), sum.end(), 0.0);
    for (const KeySpan& span : spans) {
      if (span.global != global) continue;
      for (int64_t j = begin_of_view(span, t); j < end_of_view(span, t); ++j) {
        const double dlogit = pair_gradient(queries, span, row, t, h, j).dlogit;
        const float* k = key_row(span, j, queries.head_dim);
        for (size_t i = 0; i < sum.size(); ++i) sum[i] += scale * dlogit * static_cast<double>(k[i]);
      }
    }
    float* dq = target + t * query_grad.token_stride + h * query_grad.head_stride;
    for (size_t i = 0; i < sum.size(); ++i) dq[i] = static_cast<float>(static_cast<double>(dq[i]) + sum[i]);
  }
}

void add_query_bias_gradient(const QueryBlock& queries, const KeySpan& span, const RowGradient& row, int64_t t,
                             int64_t h, const KeySpanGrad& grad) {
  double sum = 0;
  for (int64_t j = begin_of_view(span, t); j < end_of_view(span, t); ++j) {
    sum += pair_gradient(queries, span, row, t, h, j).dlogit;
  }
  grad.dquery_bias[t] = static_cast<float>(static_cast<double>(grad.dquery_bias[t]) + sum);
}

void add_key_gradient(const QueryBlock& queries, const KeySpan& span, const std::vector<RowGradient>& rows,
                      const KeySpanGrad& grad, int64_t j, std::vector<double>& dk, std::vector<double>& dv) {
  const auto scale = static_cast<double>(queries.scale);
  std::fill(dk.begin(), dk.end(), 0.0);
  std::fill(dv.begin(), dv.end(), 0.0);
  double dbias = 0;
  for (int64_t t = 0; t < queries.tokens; ++t) {
    if (j < begin_of_view(span, t) || j >= end_of_view(span, t)) continue;
    for (int64_t h = 0; h < queries.heads; ++h) {
      const RowGradient& row = rows[static_cast<size_t>(t * queries.heads + h)];
      const PairGradient pair = pair_gradient(queries, span, row, t, h, j);
      const float* q = query_row(queries, span, t, h);
      for (size_t i = 0; i < dk.size(); ++i) {
        dk[i] += scale * pair.dlogit * static_cast<double>(q[i]);
        dv[i] += pair.p * static_cast<double>(row.dout[i]);
      }
      dbias += pair.dlogit;
    }
  }
  float* dk_row = grad.dk + j * padded_dim(queries.head_dim);
  float* dv_row = grad.dv + j * padded_dim(queries.head_dim);
  for (size_t i = 0; i < dk.size(); ++i) {
    dk_row[i] = static_cast<float>(static_cast<double>(dk_row[i]) + dk[i]);
    dv_row[i] = static_cast<float>(static_cast<double>(dv_row[i]) + dv[i]);
  }
  if (grad.dbias) grad.dbias[j] = static_cast<float>(static_cast<double>(grad.dbias[j]) + dbias);
}

/// One query against all its keys, in one pass: what was summed is rescaled whenever the maximum rises.
void attend_row(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionOutput& output,
                int64_t t, int64_t h, std::vector<double>& sum) {
  double maximum = -kInfinity, total = 0;
  std::fill(sum.begin(), sum.end(), 0.0);
  for (const KeySpan& span : spans) {
    for (int64_t j = begin_of_view(span, t); j < end_of_view(span, t); ++j) {
      const double s = logit(queries, span, t, h, j);
      if (s == -kInfinity) continue;
      if (s > maximum) {
        const double rescale = std::exp(maximum - s);
        for (double& x : sum) x *= rescale;
        total *= rescale;
        maximum = s;
      }
      const double p = std::exp(s - maximum);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += p * value(span, j, static_cast<int64_t>(i));
      total += p;
    }
  }
  float* out = output.out + t * output.token_stride + h * output.head_stride;
  for (size_t i = 0; i < sum.size(); ++i) out[i] = total > 0 ? static_cast<float>(sum[i] / total) : 0.0f;
  if (output.lse) {
    output.lse[t * output.lse_token_stride + h] =
        static_cast<float>(total > 0 ? maximum + std::log(total) : -kInfinity);
  }
}

}  // namespace

void attend(const QueryBlock& queries, std::span<const KeySpan> spans, const AttentionOutput& output) {
  std::vector<double> sum(static_cast<size_t>(queries.head_dim));
  for (int64_t t = 0; t < queries.tokens; ++t) {
    for (int64_t h = 0; h < queries.heads; ++h) attend_row(queries, spans, output, t, h, sum);
  }
}

// Two sweeps, by query for dq and by key for the rest, so that each gradient is one sum in double.
void attend_backward(const QueryBlock& queries, std::span<const KeySpan> spans,
                     const AttentionGradInput& input, const QueryGrad& query_grad,
                     std::span<const KeySpanGrad> grads) {
  RF_CHECK(grads.size() == spans.size());
  std::vector<double> sum(static_cast<size_t>(queries.head_dim)), second_sum(sum.size());
  std::vector<RowGradient> rows;
  for (int64_t t = 0; t < queries.tokens; ++t) {
    for (int64_t h = 0; h < queries.heads; ++h) {
      rows.push_back(row_gradient(queries, input, t, h));
      add_query_gradient(queries, spans, rows.back(), query_grad, t, h, sum);
      for (size_t i = 0; i < spans.size(); ++i) {
        if (grads[i].dquery_bias) add_query_bias_gradient(queries, spans[i], rows.back(), t, h, grads[i]);
      }
    }
  }
  for (size_t i = 0; i < spans.size(); ++i) {
    for (int64_t j = spans[i].begin; j < spans[i].end; ++j) {
      add_key_gradient(queries, spans[i], rows, grads[i], j, sum, second_sum);
    }
  }
}

}  // namespace ringflash::kernels::ref
