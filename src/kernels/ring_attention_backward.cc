#include <algorithm>
#include <cmath>

#include "base/ceil_div.h"
#include "base/check.h"
#include "kernels/ring_attention.h"
#include "kernels/ring_blocks.h"

namespace ringflash::kernels {
namespace {

// A document's queries are cut into segments whose key gradients are summed apart and then merged in order.
// The cut depends on the document alone, never on the executor; at most 8 segments bound the memory by 8
// times the keys' and values' gradients (full layers; a causal ring layer's segments overlap by a window).
constexpr int64_t kLeastSegmentTokens = 1024;
constexpr int64_t kMostSegments = 8;

/// Gradients of a run of keys, [keys, padded_dim].
struct KeyGrad {
  AlignedVector<float> dk, dv;

  void resize(int64_t keys, int64_t padded) {
    const int64_t rows = round_up(keys, kBlockKeys);
    dk.resize(static_cast<size_t>(rows * padded));
    dv.resize(dk.size());
  }
};

/// What one segment's queries give to a document's keys.
struct SegmentGrad {
  int64_t first_key = 0;  ///< local keys are positions from here on, a multiple of kBlockKeys
  KeyGrad local;          ///< of rotated keys
  KeyGrad plain;          ///< of unrotated ones, all positions
  KeyGrad global;         ///< of HeadKeys::positions
  AlignedVector<float> dbias;
  AlignedVector<float> dquery_bias;  ///< of the segment's own positions, by position
};

struct Incoming {
  const float *out, *lse, *dout;
};

int64_t first_local_key(const AttentionShape& shape, const Segment& segment) {
  if (shape.kind == AttentionKind::kFull || shape.mode == AttentionMode::kBidirectional) return 0;
  if (shape.kind == AttentionKind::kSliding) {
    return std::max<int64_t>(0, segment.begin + 1 - shape.sliding_window) / kBlockKeys * kBlockKeys;
  }
  const int64_t chunk = shape.ring.chunk(segment.begin) - shape.ring.band_chunks();
  return std::max<int64_t>(0, chunk) * shape.ring.stride / kBlockKeys * kBlockKeys;
}

int64_t last_local_key(const AttentionShape& shape, const DocumentHead& document, const Segment& segment) {
  return shape.mode == AttentionMode::kCausal ? segment.end : document.tokens();
}

SegmentGrad make_segment_grad(const AttentionShape& shape, const DocumentHead& document, const HeadKeys& keys,
                              const Segment& segment) {
  const int64_t padded = padded_dim(shape.head_dim);
  SegmentGrad grad;
  grad.first_key = first_local_key(shape, segment);
  grad.local.resize(last_local_key(shape, document, segment) - grad.first_key, padded);
  grad.plain.resize(keys.plain.rows.count(), padded);
  grad.global.resize(std::ssize(keys.positions), padded);
  grad.dbias.resize(keys.bias.size());
  if (shape.mode == AttentionMode::kBidirectional) {
    grad.dquery_bias.resize(static_cast<size_t>(document.tokens()));
  }
  return grad;
}

/// y += x, element by element.
void add(const float* x, int64_t count, float* y) {
  for (int64_t i = 0; i < count; ++i) y[i] += x[i];
}

/// The gradients of one segment: a block's buffers and where they are added to.
class SegmentBackward {
 public:
  SegmentBackward(const AttentionInputs& in, const Incoming& incoming, const DocumentHead& document,
                  const HeadKeys& keys, const Segment& segment)
      : in_(in),
        incoming_(incoming),
        keys_(keys),
        work_(in, document, keys),
        padded_(padded_dim(in.shape.head_dim)),
        grad_(make_segment_grad(in.shape, document, keys, segment)) {}

  /// Sets the block's rows of dq, and adds to the keys' gradients.
  void run(const QueryGroup& block, float* dq);

  SegmentGrad take() { return std::move(grad_); }

 private:
  KeySpanGrad span_grad(KeySet set);
  void store_query_gradient(const QueryGroup& block, float* dq);
  void scatter_gathered();
  void scatter_query_bias(const QueryGroup& block);

  const AttentionInputs& in_;
  const Incoming& incoming_;
  const HeadKeys& keys_;
  BlockWork work_;
  int64_t padded_;
  SegmentGrad grad_;
  AlignedVector<float> out_, lse_, dout_, dq_, dq_rotated_, dq_plain_, gathered_dbias_, query_bias_;
  KeyGrad gathered_;
};

KeySpanGrad SegmentBackward::span_grad(KeySet set) {
  switch (set) {
    case KeySet::kLocal: {
      const int64_t offset = grad_.first_key * padded_;
      return {.dk = grad_.local.dk.data() - offset,
              .dv = grad_.local.dv.data() - offset,
              .dbias = nullptr,
              .dquery_bias = nullptr};
    }
    case KeySet::kPlain: {
      KeyGrad& grad = in_.shape.ring.global_rope ? grad_.local : grad_.plain;
      return {
          .dk = grad.dk.data(), .dv = grad.dv.data(), .dbias = nullptr, .dquery_bias = query_bias_.data()};
    }
    case KeySet::kGlobal:
      return {.dk = grad_.global.dk.data(),
              .dv = grad_.global.dv.data(),
              .dbias = grad_.dbias.empty() ? nullptr : grad_.dbias.data(),
              .dquery_bias = nullptr};
    case KeySet::kGathered:
      return {.dk = gathered_.dk.data(),
              .dv = gathered_.dv.data(),
              .dbias = gathered_dbias_.data(),
              .dquery_bias = nullptr};
  }
  RF_UNREACHABLE();
}

void SegmentBackward::run(const QueryGroup& block, float* dq) {
  work_.load(block);
  const QueryBlock queries = work_.queries();
  const int64_t head_dim = in_.shape.head_dim;
  const auto out = work_.rows(incoming_.out, head_dim, out_);
  const auto dout = work_.rows(incoming_.dout, head_dim, dout_);
  const auto lse = work_.rows(incoming_.lse, 1, lse_);
  dq_rotated_.assign(static_cast<size_t>(queries.tokens * queries.token_stride), 0.0f);
  dq_plain_.assign(dq_rotated_.size(), 0.0f);
  query_bias_.assign(block.positions.size(), 0.0f);
  std::vector<KeySpanGrad> grads;
  for (size_t i = 0; i < work_.spans().size(); ++i) {
    if (work_.set(i) == KeySet::kGathered) {
      gathered_ = {};
      gathered_.resize(std::ssize(work_.gathered_positions()), padded_);
      gathered_dbias_.assign(work_.gathered_positions().size(), 0.0f);
    }
    grads.push_back(span_grad(work_.set(i)));
  }
  in_.table.attend_backward(queries, work_.spans(),
                            {.dout = dout.data,
                             .out = out.data,
                             .token_stride = out.token_stride,
                             .head_stride = head_dim,
                             .lse = lse.data,
                             .lse_token_stride = lse.token_stride},
                            {.dq = dq_rotated_.data(),
                             .dq_global = dq_plain_.data(),
                             .token_stride = queries.token_stride,
                             .head_stride = queries.head_stride},
                            grads);
  store_query_gradient(block, dq);
  scatter_gathered();
  scatter_query_bias(block);
}

void SegmentBackward::store_query_gradient(const QueryGroup& block, float* dq) {
  const int64_t head_dim = in_.shape.head_dim, group = group_size(in_.shape);
  const auto target = work_.result_rows(dq, head_dim, dq_);
  for (size_t i = 0; i < block.positions.size(); ++i) {
    for (int64_t h = 0; h < group; ++h) {
      const int64_t source = (static_cast<int64_t>(i) * group + h) * head_dim;
      float* row = target.data + static_cast<int64_t>(i) * target.token_stride + h * head_dim;
      rope_unrotate(dq_rotated_.data() + source, row, *in_.rope, block.positions[i]);
      add(dq_plain_.data() + source, head_dim, row);
    }
  }
  work_.store(dq_, head_dim, dq);
}

void SegmentBackward::scatter_gathered() {
  for (size_t i = 0; i < work_.spans().size(); ++i) {
    if (work_.set(i) != KeySet::kGathered) continue;
    for (int64_t key = 0; key < std::ssize(work_.gathered_positions()); ++key) {
      const int64_t target = work_.gathered_positions()[static_cast<size_t>(key)];
      add(gathered_.dk.data() + key * padded_, padded_, grad_.global.dk.data() + target * padded_);
      add(gathered_.dv.data() + key * padded_, padded_, grad_.global.dv.data() + target * padded_);
      grad_.dbias[static_cast<size_t>(target)] += gathered_dbias_[static_cast<size_t>(key)];
    }
  }
}

void SegmentBackward::scatter_query_bias(const QueryGroup& block) {
  if (!block.global) return;
  for (size_t i = 0; i < block.positions.size(); ++i) {
    grad_.dquery_bias[static_cast<size_t>(block.positions[i])] += query_bias_[i];
  }
}

/// Where a document's merged key gradients go.
struct KeyGradients {
  float *dk, *dv, *drouter;
};

/// Documents before the first query leave no gradients.
void clear_unseen(const AttentionShape& shape, std::span<const DocumentHead> documents, const KeyGradients& result) {
  const int64_t rows = documents.empty() ? shape.tokens : documents.front().begin;
  std::fill_n(result.dk, rows * shape.key_value_heads * shape.head_dim, 0.0f);
  std::fill_n(result.dv, rows * shape.key_value_heads * shape.head_dim, 0.0f);
  if (result.drouter != nullptr) std::fill_n(result.drouter, rows * shape.key_value_heads, 0.0f);
}

/// Sums the segments of one document, in their order.
SegmentGrad sum_segments(const AttentionShape& shape, const DocumentHead& document, const HeadKeys& keys,
                         std::span<const SegmentGrad> parts) {
  SegmentGrad total =
      make_segment_grad(shape, document, keys, {.document = 0, .begin = 0, .end = document.tokens()});
  const auto add_all = [](const AlignedVector<float>& x, float* y) { add(x.data(), std::ssize(x), y); };
  for (const SegmentGrad& part : parts) {
    const int64_t offset = part.first_key * padded_dim(shape.head_dim);
    add_all(part.local.dk, total.local.dk.data() + offset);
    add_all(part.local.dv, total.local.dv.data() + offset);
    add_all(part.plain.dk, total.plain.dk.data());
    add_all(part.plain.dv, total.plain.dv.data());
    add_all(part.global.dk, total.global.dk.data());
    add_all(part.global.dv, total.global.dv.data());
    add_all(part.dbias, total.dbias.data());
    add_all(part.dquery_bias, total.dquery_bias.data());
  }
  return total;
}

/// Scatters a document's gradients to the caller's rows. `total` is used up.
void scatter(const AttentionInputs& in, const DocumentHead& document, const HeadKeys& keys,
             SegmentGrad& total, const KeyGradients& result) {
  const int64_t head_dim = in.shape.head_dim, padded = padded_dim(head_dim),
                kv_heads = in.shape.key_value_heads;
  const auto row = [&](int64_t position) { return (document.begin + position) * kv_heads + document.head; };
  const auto router_slope = [&](int64_t position) {  // d log sigma(r) / dr = sigma(-r)
    return 1.0 / (1.0 + std::exp(static_cast<double>(in.router[row(position)])));
  };
  for (int64_t u = 0; u < document.tokens(); ++u) {
    float* dk = result.dk + row(u) * head_dim;
    float* dv = result.dv + row(u) * head_dim;
    rope_unrotate(total.local.dk.data() + u * padded, dk, *in.rope, u);
    std::copy_n(total.local.dv.data() + u * padded, head_dim, dv);
    if (keys.plain.rows.count() > 0) {
      add(total.plain.dk.data() + u * padded, head_dim, dk);
      add(total.plain.dv.data() + u * padded, head_dim, dv);
    }
    if (in.router == nullptr) continue;
    const bool asks = !total.dquery_bias.empty() && total.dquery_bias[static_cast<size_t>(u)] != 0.0f;
    result.drouter[row(u)] =
        asks ? static_cast<float>(static_cast<double>(total.dquery_bias[static_cast<size_t>(u)]) *
                                  router_slope(u))
             : 0.0f;
  }
  for (int64_t i = 0; i < std::ssize(keys.positions); ++i) {
    const int64_t u = keys.positions[static_cast<size_t>(i)];
    float* global_dk = total.global.dk.data() + i * padded;
    if (in.shape.ring.global_rope) rope_unrotate(global_dk, global_dk, *in.rope, u);
    add(global_dk, head_dim, result.dk + row(u) * head_dim);
    add(total.global.dv.data() + i * padded, head_dim, result.dv + row(u) * head_dim);
    if (in.router) {
      result.drouter[row(u)] +=
          static_cast<float>(static_cast<double>(total.dbias[static_cast<size_t>(i)]) * router_slope(u));
    }
  }
}

}  // namespace

void attention_backward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                        const float* router, std::span<const int64_t> bounds, const float* out,
                        const float* lse, const float* dout, float* dq, float* dk, float* dv, float* drouter,
                        const Table& table, Executor& executor) {
  const std::vector<DocumentHead> documents = document_heads(shape, bounds);
  clear_unseen(shape, documents, {.dk = dk, .dv = dv, .drouter = drouter});
  if (documents.empty()) return;
  const AttentionInputs in = attention_inputs(shape, q, k, v, router, documents, table);
  const Incoming incoming{.out = out, .lse = lse, .dout = dout};
  const std::vector<HeadKeys> keys = make_head_keys(in, documents, true, executor);

  const std::vector<Segment> segments = cut_segments(shape, documents, kLeastSegmentTokens, kMostSegments);
  std::vector<SegmentGrad> parts(segments.size());
  executor.for_each(std::ssize(segments), [&](int64_t s) {
    const Segment& segment = segments[static_cast<size_t>(s)];
    SegmentBackward backward(in, incoming, documents[segment.document], keys[segment.document], segment);
    for (const QueryGroup& block : cut_blocks(shape, keys[segment.document], segment.begin, segment.end)) {
      backward.run(block, dq);
    }
    parts[static_cast<size_t>(s)] = backward.take();
  });

  executor.for_each(std::ssize(documents), [&](int64_t d) {
    const auto document = static_cast<size_t>(d);
    const auto [first, last] = std::equal_range(
        segments.begin(), segments.end(), Segment{.document = document, .begin = 0, .end = 0},
        [](const Segment& a, const Segment& b) { return a.document < b.document; });
    const std::span mine(parts.data() + (first - segments.begin()), static_cast<size_t>(last - first));
    SegmentGrad total = sum_segments(shape, documents[document], keys[document], mine);
    scatter(in, documents[document], keys[document], total, {.dk = dk, .dv = dv, .drouter = drouter});
  });
}

}  // namespace ringflash::kernels
