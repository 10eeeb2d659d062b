#include "kernels/attention_problem.h"

#include <algorithm>
#include <limits>

namespace ringflash::testing {
namespace {

struct VisibleKey {
  size_t span;
  int64_t j;
  double p;
};

/// The softmax of one query row over everything it sees; sets its lse.
std::vector<VisibleKey> softmax(const Problem& problem, int64_t row, double& lse) {
  std::vector<VisibleKey> keys;
  double maximum = -std::numeric_limits<double>::infinity(), total = 0;
  for (size_t s = 0; s < problem.spec.spans.size(); ++s) {
    const SpanSpec& span = problem.spec.spans[s];
    const int64_t t = row / problem.spec.heads;
    for (int64_t j = span.begin; j < span.count; ++j) {
      if (j >= span.visible + t) continue;
      double logit = span.bias ? problem.bias[s].at(j, 0) : 0.0;
      if (span.query_bias) logit += problem.query_bias[s].at(t, 0);
      for (int64_t i = 0; i < problem.spec.head_dim; ++i) {
        logit += static_cast<double>(problem.scale) *
                 (span.global ? problem.q_global : problem.q).at(row, i) * problem.k[s].at(j, i);
      }
      keys.push_back({s, j, logit});
      maximum = std::max(maximum, logit);
    }
  }
  for (VisibleKey& key : keys) total += (key.p = std::exp(key.p - maximum));
  for (VisibleKey& key : keys) key.p /= total;
  lse = maximum + std::log(total);
  return keys;
}

void add_row(const Problem& problem, int64_t row, Expected& expected) {
  const int64_t d = problem.spec.head_dim;
  const auto at = [](int64_t i) { return static_cast<size_t>(i); };
  const auto scale = static_cast<double>(problem.scale);
  const std::vector<VisibleKey> keys = softmax(problem, row, expected.lse[at(row)]);
  double mean_dp = 0;
  for (const VisibleKey& key : keys) {
    for (int64_t i = 0; i < d; ++i) {
      const double weighted = key.p * problem.v[key.span].at(key.j, i);
      expected.out[at(row * d + i)] += weighted;
      mean_dp += weighted * problem.dout.at(row, i);
    }
  }
  for (const VisibleKey& key : keys) {
    const bool global = problem.spec.spans[key.span].global;
    double dp = 0;
    for (int64_t i = 0; i < d; ++i) dp += problem.dout.at(row, i) * problem.v[key.span].at(key.j, i);
    const double dlogit = key.p * (dp - mean_dp);
    for (int64_t i = 0; i < d; ++i) {
      const double q = (global ? problem.q_global : problem.q).at(row, i);
      (global ? expected.dq_global : expected.dq)[at(row * d + i)] +=
          scale * dlogit * problem.k[key.span].at(key.j, i);
      expected.dk[key.span][at(key.j * d + i)] += scale * dlogit * q;
      expected.dv[key.span][at(key.j * d + i)] += key.p * problem.dout.at(row, i);
    }
    if (problem.spec.spans[key.span].bias) expected.dbias[key.span][at(key.j)] += dlogit;
    if (problem.spec.spans[key.span].query_bias) {
      expected.dquery_bias[key.span][at(row / problem.spec.heads)] += dlogit;
    }
  }
}

}  // namespace

Expected solve(const Problem& problem) {
  const auto size = static_cast<size_t>(problem.rows() * problem.spec.head_dim);
  Expected expected;
  expected.out = expected.dq = expected.dq_global = std::vector<double>(size);
  expected.lse.resize(static_cast<size_t>(problem.rows()));
  std::vector<std::vector<double>> mass;
  for (const SpanSpec& span : problem.spec.spans) {
    expected.dk.emplace_back(static_cast<size_t>(span.count * problem.spec.head_dim));
    expected.dv.emplace_back(expected.dk.back());
    expected.dbias.emplace_back(static_cast<size_t>(span.count));
    expected.dquery_bias.emplace_back(static_cast<size_t>(problem.spec.tokens));
    mass.emplace_back(expected.dbias.back());
  }
  for (int64_t row = 0; row < problem.rows(); ++row) {
    add_row(problem, row, expected);
    double lse = 0;
    for (const VisibleKey& key : softmax(problem, row, lse)) {
      double& sum = mass[key.span][static_cast<size_t>(key.j)];
      expected.key_mass = std::max(expected.key_mass, sum += key.p);
    }
  }
  return expected;
}

AttentionTolerances tolerances(const Problem& problem, const Expected& expected) {
  const int64_t d = problem.spec.head_dim;
  AttentionMagnitudes m{};
  m.head_dim = d;
  m.key_mass = expected.key_mass;
  for (const Rows* q : {&problem.q, &problem.q_global}) {
    m.q_norm = std::max(m.q_norm, problem.spec.scale_factor * largest_norm(q->values(), d));
    m.q_max = std::max(m.q_max, problem.spec.scale_factor * largest(q->values()));
  }
  m.dout_norm = largest_norm(problem.dout.values(), d);
  m.dout_max = largest(problem.dout.values());
  int64_t keys = 0;
  for (size_t i = 0; i < problem.k.size(); ++i) {
    m.k_norm = std::max(m.k_norm, largest_norm(problem.k[i].values(), d));
    m.k_max = std::max(m.k_max, problem.spec.scale_factor * largest(problem.k[i].values()));
    m.v_norm = std::max(m.v_norm, largest_norm(problem.v[i].values(), d));
    m.v_max = std::max(m.v_max, largest(problem.v[i].values()));
    keys += problem.spec.spans[i].count;
  }
  m.keys = std::max({problem.rows(), keys, int64_t{1}});
  return attention_tolerances(m, problem.type, false);
}

}  // namespace ringflash::testing
