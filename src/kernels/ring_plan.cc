#include "kernels/ring_plan.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace ringflash::kernels {
namespace {

bool is_ring(const AttentionShape& shape) {
  switch (shape.kind) {
    case AttentionKind::kFull:
      return false;
    case AttentionKind::kRing:
      return true;
  }
  RF_UNREACHABLE();
}

/// Fills in what the last chunk of the document sees; an earlier chunk sees a prefix of it.
void find_global_positions(const AttentionShape& shape, int64_t tokens, const float* scores,
                           int64_t score_stride, HeadKeys& keys) {
  const RingGeometry& ring = shape.ring;
  const int64_t pages = is_ring(shape) ? ring.chunk(tokens - 1) - ring.band_chunks() : 0;
  if (pages <= 0) return;
  std::vector<int32_t> page(static_cast<size_t>(scores ? ring.page_tokens() : 0));
  std::vector<int64_t> paged;
  for (int64_t j = 0; j < pages && scores; ++j) {
    select_page(scores + j * ring.stride * score_stride, score_stride, ring, page);
    for (const int32_t offset : page) paged.push_back(j * ring.stride + offset);
  }
  const auto page_0_end = paged.begin() + static_cast<std::ptrdiff_t>(page.size());
  for (int64_t sink = 0; sink < ring.sink_tokens; ++sink) {
    if (!std::binary_search(paged.begin(), page_0_end, sink)) keys.positions.push_back(sink);
  }
  keys.lone_sinks = static_cast<int64_t>(keys.positions.size());
  keys.page_tokens = static_cast<int64_t>(page.size());
  keys.positions.insert(keys.positions.end(), paged.begin(), paged.end());
}

}  // namespace

void select_page(const float* scores, int64_t score_stride, const RingGeometry& ring,
                 std::span<int32_t> page) {
  RF_CHECK(static_cast<int64_t>(page.size()) == ring.page_tokens());
  std::vector<int32_t> order(static_cast<size_t>(ring.stride));
  std::iota(order.begin(), order.end(), 0);
  const auto score =
      [&](int32_t offset) {  // NaN ranks last: the order must be strict even for a broken model
        const float value = scores[offset * score_stride];
        return std::isnan(value) ? -std::numeric_limits<float>::infinity() : value;
      };
  const auto better = [&](int32_t a, int32_t b) {
    const float score_a = score(a), score_b = score(b);
    return score_a != score_b ? score_a > score_b : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(page.size()), order.end(),
                    better);
  std::copy_n(order.begin(), page.size(), page.begin());
  std::sort(page.begin(), page.end());
}

float router_bias(float score) {
  const auto r = static_cast<double>(score);
  return static_cast<float>(std::min(r, 0.0) - std::log1p(std::exp(-std::abs(r))));
}

std::vector<DocumentHead> document_heads(const AttentionShape& shape, std::span<const int64_t> bounds) {
  RF_CHECK(shape.key_value_heads > 0 && shape.heads % shape.key_value_heads == 0);
  RF_CHECK(!bounds.empty() && bounds.front() == 0 && bounds.back() == shape.tokens);
  std::vector<DocumentHead> documents;
  for (size_t d = 0; d + 1 < bounds.size(); ++d) {
    RF_CHECK(bounds[d] <= bounds[d + 1]);
    if (bounds[d] == bounds[d + 1]) continue;
    for (int64_t head = 0; head < shape.key_value_heads; ++head) {
      documents.push_back({.begin = bounds[d], .end = bounds[d + 1], .head = head});
    }
  }
  return documents;
}

int64_t longest(std::span<const DocumentHead> documents) {
  int64_t tokens = 0;
  for (const DocumentHead& document : documents) tokens = std::max(tokens, document.tokens());
  return tokens;
}

bool uses_router(const AttentionShape& shape, const float* router) {
  const bool has_pages = is_ring(shape) && shape.ring.page_tokens() > 0;
  RF_CHECK(!has_pages || router != nullptr);
  return has_pages;
}

HeadKeys make_head_keys(const AttentionShape& shape, const DocumentHead& document, const float* k,
                        const float* v, const float* router, const RopeTable& table) {
  const int64_t head_dim = shape.head_dim, kv_heads = shape.key_value_heads, stride = kv_heads * head_dim;
  const float* scores =
      uses_router(shape, router) ? router + document.begin * kv_heads + document.head : nullptr;
  k += document.begin * stride + document.head * head_dim;
  v += document.begin * stride + document.head * head_dim;

  HeadKeys keys{};
  keys.v = v;
  keys.v_stride = stride;
  keys.rotated.resize(static_cast<size_t>(document.tokens() * head_dim));
  for (int64_t u = 0; u < document.tokens(); ++u) {
    rope_rotate(k + u * stride, keys.rotated.data() + u * head_dim, table, u);
  }
  find_global_positions(shape, document.tokens(), scores, kv_heads, keys);
  for (const int64_t u : keys.positions) {
    const float* global_k = shape.ring.global_rope ? keys.rotated.data() + u * head_dim : k + u * stride;
    keys.global_k.insert(keys.global_k.end(), global_k, global_k + head_dim);
    keys.global_v.insert(keys.global_v.end(), v + u * stride, v + u * stride + head_dim);
    if (scores) keys.global_bias.push_back(router_bias(scores[u * kv_heads]));
  }
  return keys;
}

BlockRange next_block(const AttentionShape& shape, const HeadKeys& keys, int64_t begin, int64_t limit) {
  BlockRange block{
      .begin = begin, .end = std::min(begin + kBlockTokens, limit), .first_key = 0, .globals = 0};
  if (is_ring(shape)) {
    const RingGeometry& ring = shape.ring;
    const int64_t chunk = ring.chunk(begin);
    const int64_t chunks_behind = std::max<int64_t>(chunk - ring.band_chunks(), 0);
    block.end = std::min(block.end, (chunk + 1) * ring.stride);
    block.first_key = chunks_behind * ring.stride;
    if (chunks_behind > 0) block.globals = keys.lone_sinks + chunks_behind * keys.page_tokens;
  }
  return block;
}

BlockSpans block_spans(const AttentionShape& shape, const HeadKeys& keys, const BlockRange& block) {
  const int64_t head_dim = shape.head_dim;
  BlockSpans result;
  result.spans[0] = {.k = keys.rotated.data() + block.first_key * head_dim,
                     .v = keys.v + block.first_key * keys.v_stride,
                     .bias = nullptr,
                     .k_stride = head_dim,
                     .v_stride = keys.v_stride,
                     .count = block.end - block.first_key,
                     .visible = block.begin - block.first_key + 1,
                     .global = false};
  result.spans[1] = {.k = keys.global_k.data(),
                     .v = keys.global_v.data(),
                     .bias = keys.global_bias.empty() ? nullptr : keys.global_bias.data(),
                     .k_stride = head_dim,
                     .v_stride = head_dim,
                     .count = block.globals,
                     .visible = kAllVisible,
                     .global = !shape.ring.global_rope};
  result.count = block.globals > 0 ? 2 : 1;
  return result;
}

QueryScratch::QueryScratch(const AttentionShape& shape)
    : shape_(shape),
      rotated_(static_cast<size_t>(kBlockTokens * group_size(shape) * shape.head_dim)),
      plain_(rotated_.size()) {}

QueryBlock QueryScratch::load(const DocumentHead& document, const BlockRange& block, const float* q,
                              const RopeTable& table) {
  const int64_t group = group_size(shape_), head_dim = shape_.head_dim, row = group * head_dim;
  for (int64_t t = block.begin; t < block.end; ++t) {
    const float* source = q + ((document.begin + t) * shape_.key_value_heads + document.head) * row;
    const int64_t offset = (t - block.begin) * row;
    std::copy_n(source, row, plain_.data() + offset);
    for (int64_t i = 0; i < row; i += head_dim) {
      rope_rotate(source + i, rotated_.data() + offset + i, table, t);
    }
  }
  return {.q = rotated_.data(),
          .q_global = plain_.data(),
          .tokens = block.end - block.begin,
          .heads = group,
          .head_dim = head_dim,
          .token_stride = row,
          .head_stride = head_dim,
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)))};
}

std::vector<Segment> cut_segments(std::span<const DocumentHead> documents, int64_t least, int64_t most) {
  std::vector<Segment> segments;
  for (size_t d = 0; d < documents.size(); ++d) {
    const int64_t tokens = documents[d].tokens();
    const int64_t length = std::max(least, (tokens + most - 1) / most);
    for (int64_t begin = 0; begin < tokens; begin += length) {
      segments.push_back({.document = d, .begin = begin, .end = std::min(begin + length, tokens)});
    }
  }
  return segments;
}

}  // namespace ringflash::kernels
