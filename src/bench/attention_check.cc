#include "bench/attention_check.h"

#include <cmath>
#include <cstdio>
#include <set>

#include "base/rng.h"

namespace ringflash::bench {
namespace {

bool rounds_to_bf16(const kernels::Table& table) {
  switch (table.key_type) {
    case kernels::KeyType::kF32: return false;
    case kernels::KeyType::kBf16: return true;
  }
  RF_UNREACHABLE();
}

/// Relative errors of random sign in each term of a sum over keys. bf16: the inputs' own rounding is in the reference
/// too; q may be rounded again once scaled, which moves a logit of unit variance by 2^-9, and p and dS are rounded
/// before they are multiplied: three times 2^-9 in quadrature is below 2^-8; doubled for safety. fp32: logits are off
/// by up to head_dim * 2^-24 * |q||k| / sqrt(head_dim), about 2^-15 for normals and 64 dimensions, sums of n keys by
/// sqrt(n) * 2^-24, 2^-15 at a quarter of a million; together, with a fast exp's 2^-20, well below 2^-13.
double tolerance(const kernels::Table& table) {
  return rounds_to_bf16(table) ? 0x1p-7 : 0x1p-13;
}

/// Positions from result.first on.
std::vector<int64_t> sample_positions(const kernels::AttentionShape& shape, int64_t first) {
  constexpr size_t kSamples = 16;
  const int64_t stride = shape.ring.stride, window = shape.ring.window, last = shape.tokens - 1;
  std::set<int64_t> positions;
  for (const int64_t t : {int64_t{0}, stride - 1, stride, window, window + stride, last / stride * stride, last}) {
    if (t >= first && t <= last) positions.insert(t);
  }
  Rng rng(static_cast<uint64_t>(shape.tokens));
  const auto rows = static_cast<uint64_t>(shape.tokens - first);
  while (positions.size() < std::min<uint64_t>(kSamples, rows)) {
    positions.insert(first + static_cast<int64_t>(rng.below(rows)));
  }
  return {positions.begin(), positions.end()};
}

/// ||found - expected|| as a multiple of `unit`; infinite where something found is no number.
double error_of(std::span<const float> found, const std::vector<double>& expected, double unit) {
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) sum += (found[i] - expected[i]) * (found[i] - expected[i]);
  const double error = std::sqrt(sum) / unit;
  return std::isnan(error) ? HUGE_VAL : error;
}

}  // namespace

Status check_attention(const kernels::AttentionShape& shape, const AttentionInputs& inputs,
                       const AttentionResult& result, const kernels::Table& table, Executor& executor) {
  const AttentionReference reference(shape, inputs, rounds_to_bf16(table));
  const std::vector<int64_t> positions = sample_positions(shape, result.first);
  const double allowed = tolerance(table);
  std::vector<std::string> errors(positions.size() * static_cast<size_t>(shape.heads));
  executor.for_each(std::ssize(errors), [&](int64_t task) {
    const int64_t position = positions[static_cast<size_t>(task / shape.heads)], head = task % shape.heads;
    const ReferenceRow expected = reference.row(position, head);
    const auto at = static_cast<size_t>(((position - result.first) * shape.heads + head) * shape.head_dim);
    const auto compare = [&](const char* name, std::span<const float> found, const std::vector<double>& values,
                             double spread) {
      const double error = error_of(found.subspan(at, values.size()), values, spread + 1e-30);
      if (error <= allowed) return;
      char text[160];
      std::snprintf(text, sizeof text, "%s of position %lld, head %lld: off by %.2g, allowed are %.2g", name,
                    static_cast<long long>(position), static_cast<long long>(head), error, allowed);
      errors[static_cast<size_t>(task)] = text;
    };
    compare("output", result.out, expected.out, expected.out_spread);
    if (!result.dq.empty()) compare("dq", result.dq, expected.dq, expected.dq_spread);
  });
  for (const std::string& error : errors) {
    if (!error.empty()) return Error{error};
  }
  return {};
}

}  // namespace ringflash::bench
