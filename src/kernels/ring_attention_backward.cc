#include <algorithm>
#include <cmath>

#include "kernels/ring_attention.h"
#include "kernels/ring_plan.h"

namespace ringflash::kernels {
namespace {

// A document's queries are cut into segments whose key gradients are summed apart and then merged in order.
// The cut depends on the document alone, never on the executor; at most 8 segments bound the memory by 8
// times the keys' and values' gradients (full layers; a ring layer's segments overlap by a window).
constexpr int64_t kLeastSegmentTokens = 1024;
constexpr int64_t kMostSegments = 8;

/// Key gradients from one segment's queries.
struct SegmentGrad {
  int64_t first_key = 0;        ///< local keys are positions [first_key, segment.end)
  AlignedVector<float> dk, dv;  ///< [local keys, head_dim], dk of rotated keys
  AlignedVector<float> global_dk, global_dv, global_dbias;  ///< of the first HeadKeys::positions
};

struct Inputs {
  const AttentionShape& shape;
  const float *q, *out, *lse, *dout;
  const RopeTable& rope;
  const Table& table;
};

/// dq of a block from the gradients of its rotated and its plain copy.
void store_query_gradient(const Inputs& in, const DocumentHead& document, const BlockRange& block,
                          AlignedVector<float>& rotated, const AlignedVector<float>& plain, float* dq) {
  const int64_t head_dim = in.shape.head_dim, row = group_size(in.shape) * head_dim;
  for (int64_t t = block.begin; t < block.end; ++t) {
    float* target = dq + ((document.begin + t) * in.shape.key_value_heads + document.head) * row;
    const int64_t offset = (t - block.begin) * row;
    for (int64_t i = 0; i < row; i += head_dim) {
      rope_unrotate(rotated.data() + offset + i, target + i, in.rope, t);
    }
    for (int64_t i = 0; i < row; ++i) target[i] += plain[static_cast<size_t>(offset + i)];
  }
}

SegmentGrad make_segment_grad(const AttentionShape& shape, const HeadKeys& keys, const Segment& segment) {
  // First and last block see the earliest local key and the most global ones.
  SegmentGrad grad;
  grad.first_key = next_block(shape, keys, segment.begin, segment.end).first_key;
  const int64_t globals = next_block(shape, keys, segment.end - 1, segment.end).globals;
  grad.dk.resize(static_cast<size_t>((segment.end - grad.first_key) * shape.head_dim));
  grad.dv.resize(grad.dk.size());
  grad.global_dk.resize(static_cast<size_t>(globals * shape.head_dim));
  grad.global_dv.resize(grad.global_dk.size());
  if (!keys.global_bias.empty()) grad.global_dbias.resize(static_cast<size_t>(globals));
  return grad;
}

SegmentGrad segment_backward(const Inputs& in, const DocumentHead& document, const HeadKeys& keys,
                             const Segment& segment, float* dq) {
  const AttentionShape& shape = in.shape;
  const int64_t head_dim = shape.head_dim;
  SegmentGrad grad = make_segment_grad(shape, keys, segment);
  QueryScratch scratch(shape);
  AlignedVector<float> dq_rotated(static_cast<size_t>(kBlockTokens * group_size(shape) * head_dim));
  AlignedVector<float> dq_plain(dq_rotated.size());
  for (int64_t t = segment.begin; t < segment.end;) {
    const BlockRange block = next_block(shape, keys, t, segment.end);
    const QueryBlock queries = scratch.load(document, block, in.q, in.rope);
    const BlockSpans spans = block_spans(shape, keys, block);
    const int64_t local = (block.first_key - grad.first_key) * head_dim;
    const KeySpanGrad span_grads[2] = {
        {.dk = grad.dk.data() + local,
         .dv = grad.dv.data() + local,
         .dbias = nullptr,
         .dk_stride = head_dim,
         .dv_stride = head_dim},
        {.dk = grad.global_dk.data(),
         .dv = grad.global_dv.data(),
         .dbias = grad.global_dbias.empty() ? nullptr : grad.global_dbias.data(),
         .dk_stride = head_dim,
         .dv_stride = head_dim}};
    std::fill(dq_rotated.begin(), dq_rotated.end(), 0.0f);
    std::fill(dq_plain.begin(), dq_plain.end(), 0.0f);
    const int64_t row = (document.begin + t) * shape.heads + document.head * queries.heads;
    in.table.attend_backward(queries, spans.view(),
                             {.dout = in.dout + row * head_dim,
                              .out = in.out + row * head_dim,
                              .token_stride = shape.heads * head_dim,
                              .head_stride = head_dim,
                              .lse = in.lse + row,
                              .lse_token_stride = shape.heads},
                             {.dq = dq_rotated.data(),
                              .dq_global = dq_plain.data(),
                              .token_stride = queries.token_stride,
                              .head_stride = queries.head_stride},
                             std::span(span_grads, spans.count));
    store_query_gradient(in, document, block, dq_rotated, dq_plain, dq);
    t = block.end;
  }
  return grad;
}

void add(const AlignedVector<float>& x, float* y) {
  for (size_t i = 0; i < x.size(); ++i) y[i] += x[i];
}

/// Where a document's merged key gradients go.
struct KeyGradients {
  float *dk, *dv, *drouter;
  const float* router;  ///< null for none
};

/// Sums the segments of one document, in their order, and scatters the result to the caller's rows.
void merge(const AttentionShape& shape, const DocumentHead& document, const HeadKeys& keys,
           std::span<const SegmentGrad> parts, const RopeTable& rope, const KeyGradients& result) {
  const int64_t head_dim = shape.head_dim, kv_heads = shape.key_value_heads;
  SegmentGrad total;
  total.dk.resize(static_cast<size_t>(document.tokens() * head_dim));
  total.dv.resize(total.dk.size());
  total.global_dk.resize(keys.global_k.size());
  total.global_dv.resize(keys.global_v.size());
  total.global_dbias.resize(keys.global_bias.size());
  for (const SegmentGrad& part : parts) {
    add(part.dk, total.dk.data() + part.first_key * head_dim);
    add(part.dv, total.dv.data() + part.first_key * head_dim);
    add(part.global_dk, total.global_dk.data());
    add(part.global_dv, total.global_dv.data());
    add(part.global_dbias, total.global_dbias.data());
  }

  const auto row = [&](int64_t position) { return (document.begin + position) * kv_heads + document.head; };
  for (int64_t u = 0; u < document.tokens(); ++u) {
    rope_unrotate(total.dk.data() + u * head_dim, result.dk + row(u) * head_dim, rope, u);
    std::copy_n(total.dv.data() + u * head_dim, head_dim, result.dv + row(u) * head_dim);
    if (result.router) result.drouter[row(u)] = 0.0f;
  }
  for (size_t i = 0; i < keys.positions.size(); ++i) {
    const int64_t u = keys.positions[i];
    float* global_dk = total.global_dk.data() + static_cast<int64_t>(i) * head_dim;
    const float* global_dv = total.global_dv.data() + static_cast<int64_t>(i) * head_dim;
    if (shape.ring.global_rope) rope_unrotate(global_dk, global_dk, rope, u);
    for (int64_t j = 0; j < head_dim; ++j) {
      result.dk[row(u) * head_dim + j] += global_dk[j];
      result.dv[row(u) * head_dim + j] += global_dv[j];
    }
    if (result.router) {  // d log sigma(r) / dr = sigma(-r)
      const double slope = 1.0 / (1.0 + std::exp(static_cast<double>(result.router[row(u)])));
      result.drouter[row(u)] = static_cast<float>(static_cast<double>(total.global_dbias[i]) * slope);
    }
  }
}

}  // namespace

void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* router, std::span<const int64_t> bounds, const float* out,
                        const float* lse, const float* dout, float* dq, float* dk, float* dv, float* drouter,
                        const Table& table, Executor& executor) {
  const std::vector<DocumentHead> documents = document_heads(shape, bounds);
  if (documents.empty()) return;
  const auto rope = shared_rope_table(longest(documents), shape.head_dim, shape.rope_theta);
  const Inputs inputs{
      .shape = shape, .q = q, .out = out, .lse = lse, .dout = dout, .rope = *rope, .table = table};

  std::vector<HeadKeys> keys(documents.size());
  executor.for_each(static_cast<int64_t>(documents.size()), [&](int64_t d) {
    const auto i = static_cast<size_t>(d);
    keys[i] = make_head_keys(shape, documents[i], k, v, router, *rope);
  });

  const std::vector<Segment> segments = cut_segments(documents, kLeastSegmentTokens, kMostSegments);
  std::vector<SegmentGrad> parts(segments.size());
  executor.for_each(static_cast<int64_t>(segments.size()), [&](int64_t s) {
    const auto i = static_cast<size_t>(s);
    const size_t d = segments[i].document;
    parts[i] = segment_backward(inputs, documents[d], keys[d], segments[i], dq);
  });

  const KeyGradients result{
      .dk = dk, .dv = dv, .drouter = drouter, .router = uses_router(shape, router) ? router : nullptr};
  executor.for_each(static_cast<int64_t>(documents.size()), [&](int64_t d) {
    const auto document = static_cast<size_t>(d);
    const auto [first, last] = std::equal_range(
        segments.begin(), segments.end(), Segment{.document = document, .begin = 0, .end = 0},
        [](const Segment& a, const Segment& b) { return a.document < b.document; });
    const std::span mine(parts.data() + (first - segments.begin()), static_cast<size_t>(last - first));
    merge(shape, documents[document], keys[document], mine, *rope, result);
  });
}

}  // namespace ringflash::kernels
