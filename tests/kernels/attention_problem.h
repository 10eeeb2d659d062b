// One call of attend or attend_backward with all its tensors, and softmax written out in double over lists of visible keys.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/float16.h"
#include "base/rng.h"
#include "kernels/attention_cases.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernels.h"
#include "kernels/packed_keys.h"

namespace ringflash::testing {

using kernels::KeySpan;
using kernels::KeyType;
using kernels::PackedKeys;

/// Rows `stride` apart with NaN between them, behind canaries: what may be read is finite, the rest shows.
struct Rows {
  Rows(int64_t count, int64_t row_width, int64_t row_stride, Rng& rng)
      : width(row_width),
        stride(row_stride),
        buffer(static_cast<size_t>(count > 0 ? (count - 1) * stride + width : 0)) {
    for (int64_t row = 0; row < count; ++row) {
      for (int64_t i = 0; i < width; ++i) at(row, i) = static_cast<float>(rng.normal());
    }
  }

  float& at(int64_t row, int64_t i) { return buffer.data()[row * stride + i]; }
  double at(int64_t row, int64_t i) const { return static_cast<double>(buffer.data()[row * stride + i]); }
  /// The rows without what lies between them.
  std::vector<float> values() const {
    std::vector<float> result;
    for (size_t row = 0; row < buffer.size(); row += static_cast<size_t>(stride)) {
      result.insert(result.end(), buffer.data() + row, buffer.data() + row + width);
    }
    return result;
  }

  int64_t width, stride;
  GuardedBuffer buffer;
};

struct SpanSpec {
  int64_t count;
  int64_t visible;
  bool bias, global;
  int64_t begin = 0;
  bool query_bias = false;
};

struct Spec {
  int64_t tokens, heads, head_dim;
  std::vector<SpanSpec> spans;
  double scale_factor = 1.0;  ///< times 1 / sqrt(head_dim)
};

/// All tensors of one call, of numbers that the key type represents. Query rows are tokens times heads.
struct Problem {
  Problem(const Spec& specification, KeyType key_type)
      : spec(specification),
        type(key_type),
        q(rows(), spec.head_dim, spec.head_dim + 3, rng),
        q_global(rows(), spec.head_dim, spec.head_dim + 3, rng),
        dout(rows(), spec.head_dim, spec.head_dim + 1, rng),
        scale(static_cast<float>(spec.scale_factor / std::sqrt(static_cast<double>(spec.head_dim)))) {
    for (const SpanSpec& span : spec.spans) {
      k.emplace_back(span.count, spec.head_dim, spec.head_dim + 5, rng);
      v.emplace_back(span.count, spec.head_dim, spec.head_dim + 2, rng);
      bias.emplace_back(span.count, 1, 1, rng);
      query_bias.emplace_back(spec.tokens, 1, 1, rng);
    }
    if (type == KeyType::kBf16) {
      for (Rows* x : {&q, &q_global, &dout}) round_to_bf16(*x);
      for (Rows& x : k) round_to_bf16(x);
      for (Rows& x : v) round_to_bf16(x);
    }
    for (size_t i = 0; i < spec.spans.size(); ++i) {
      packed.push_back(pack(k[i], v[i], spec.spans[i].count));
      swapped.push_back(pack(v[i], k[i], spec.spans[i].count));
    }
  }

  static void round_to_bf16(Rows& x) {
    for (size_t row = 0; row < x.buffer.size(); row += static_cast<size_t>(x.stride)) {
      for (int64_t i = 0; i < x.width; ++i) {
        float& value = x.buffer.data()[static_cast<int64_t>(row) + i];
        value = to_float(to_bf16(value));
      }
    }
  }

  PackedKeys pack(Rows& keys, Rows& values, int64_t count) const {
    PackedKeys result(type, spec.head_dim);
    result.resize(count);
    for (int64_t j = 0; j < count; ++j) result.set(j, &keys.at(j, 0), &values.at(j, 0));
    return result;
  }

  int64_t rows() const { return spec.tokens * spec.heads; }
  kernels::QueryBlock queries() const {
    return {.q = q.buffer.data(),
            .q_global = q_global.buffer.data(),
            .tokens = spec.tokens,
            .heads = spec.heads,
            .head_dim = spec.head_dim,
            .token_stride = q.stride * spec.heads,
            .global_token_stride = q_global.stride * spec.heads,
            .head_stride = q.stride,
            .scale = scale};
  }
  std::vector<KeySpan> spans() const {
    std::vector<KeySpan> result;
    for (size_t i = 0; i < spec.spans.size(); ++i) {
      const SpanSpec& span = spec.spans[i];
      result.push_back({.rows = packed[i].rows(),
                        .swapped = swapped[i].rows(),
                        .bias = span.bias ? bias[i].buffer.data() : nullptr,
                        .query_bias = span.query_bias ? query_bias[i].buffer.data() : nullptr,
                        .begin = span.begin,
                        .end = span.count,
                        .visible = span.visible,
                        .window = 0,
                        .global = span.global});
    }
    return result;
  }

  Spec spec;
  KeyType type;
  Rng rng{5};
  Rows q, q_global, dout;
  float scale;
  std::vector<Rows> k, v, bias, query_bias;
  std::vector<PackedKeys> packed, swapped;
};

struct Expected {
  std::vector<double> out, lse, dq, dq_global;
  std::vector<std::vector<double>> dk, dv, dbias, dquery_bias;
  double key_mass = 0;
};

/// All results of attend and attend_backward.
Expected solve(const Problem& problem);

/// How close to `expected` a kernel must come (docs/numerics.md).
AttentionTolerances tolerances(const Problem& problem, const Expected& expected);

}  // namespace ringflash::testing
