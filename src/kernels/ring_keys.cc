#include "kernels/ring_keys.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/ceil_div.h"
#include "base/check.h"

namespace ringflash::kernels {
namespace {

constexpr int64_t kPackTokens = 512;  // in a task; whole blocks, so that no two tasks write to one

bool is_ring(const AttentionShape& shape) {
  switch (shape.kind) {
    case AttentionKind::kFull:
    case AttentionKind::kSliding:
      return false;
    case AttentionKind::kRing:
      return true;
  }
  RF_UNREACHABLE();
}

/// Complete chunks whose pages some query of the document sees.
int64_t pages_in_use(const AttentionShape& shape, int64_t tokens) {
  if (!is_ring(shape)) return 0;
  const RingGeometry& ring = shape.ring;
  const int64_t last_chunk = ring.chunk(tokens - 1);
  switch (shape.mode) {
    case AttentionMode::kCausal:
      return std::max<int64_t>(0, last_chunk - ring.band_chunks());
    case AttentionMode::kBidirectional:
      return last_chunk > 2 * ring.band_chunks() ? tokens / ring.stride : 0;
  }
  RF_UNREACHABLE();
}

/// Positions that the document's pages keep, page by page.
std::vector<int64_t> select_pages(const RingGeometry& ring, int64_t pages, const float* scores,
                                  int64_t score_stride) {
  std::vector<int64_t> positions;
  std::vector<int32_t> page(static_cast<size_t>(ring.page_tokens()));
  for (int64_t j = 0; j < pages; ++j) {
    select_page(scores + j * ring.stride * score_stride, score_stride, ring, page);
    for (const int32_t offset : page) positions.push_back(j * ring.stride + offset);
  }
  return positions;
}

/// Sets positions, sinks and page_tokens.
void find_globals(const AttentionShape& shape, int64_t tokens, const float* scores, HeadKeys& keys) {
  const int64_t pages = pages_in_use(shape, tokens);
  if (pages == 0) return;
  std::vector<int64_t> paged;
  if (scores) {
    keys.page_tokens = shape.ring.page_tokens();
    paged = select_pages(shape.ring, pages, scores, shape.key_value_heads);
  }
  if (shape.mode == AttentionMode::kCausal) {
    const auto page_0_end = paged.begin() + static_cast<std::ptrdiff_t>(keys.page_tokens);
    for (int64_t sink = 0; sink < shape.ring.sink_tokens; ++sink) {
      const bool in_page = std::binary_search(paged.begin(), page_0_end, sink);
      if (!in_page || chooses_pages(shape)) keys.positions.push_back(sink);
    }
  }
  keys.sinks = std::ssize(keys.positions);
  keys.positions.insert(keys.positions.end(), paged.begin(), paged.end());
}

/// One document's keys, values and scores, and how far apart tokens are.
struct KeySource {
  const float *k, *v, *router;
  int64_t stride, router_stride;
};

KeySource key_source(const AttentionInputs& in, const DocumentHead& document) {
  const int64_t kv_heads = in.shape.key_value_heads, head_dim = in.shape.head_dim;
  const int64_t at = (document.begin * kv_heads + document.head) * head_dim;
  return {.k = in.k + at,
          .v = in.v + at,
          .router = in.router ? in.router + document.begin * kv_heads + document.head : nullptr,
          .stride = kv_heads * head_dim,
          .router_stride = kv_heads};
}

/// Packs the global keys, which find_globals() has found.
void pack_globals(const AttentionInputs& in, const KeySource& source, HeadKeys& keys) {
  const AttentionShape& shape = in.shape;
  const bool choose = chooses_pages(shape);
  const int64_t head_dim = shape.head_dim;
  const auto all = static_cast<int64_t>(keys.positions.size());
  keys.global.resize(choose ? keys.sinks : all);
  std::vector<float> rotated(static_cast<size_t>(head_dim)), page_keys;
  for (int64_t i = 0; i < all; ++i) {
    const int64_t u = keys.positions[static_cast<size_t>(i)];
    const float* k = source.k + u * source.stride;
    const float* v = source.v + u * source.stride;
    if (shape.ring.global_rope) {
      rope_rotate(k, rotated.data(), *in.rope, u);
      k = rotated.data();
    }
    const int64_t page = i < keys.sinks || !choose ? -1 : (i - keys.sinks) / keys.page_tokens;
    if (source.router) {
      const bool counted_as_sink = page == 0 && u < shape.ring.sink_tokens;
      keys.bias.push_back(counted_as_sink ? -std::numeric_limits<float>::infinity()
                                          : router_bias(source.router[u * source.router_stride]));
    }
    if (page < 0) {
      keys.global.set(k, v, i);
      continue;
    }
    const int64_t index = (i - keys.sinks) % keys.page_tokens;
    if (index == 0) {
      keys.pages.add_page();
      page_keys.clear();
    }
    keys.pages.set(k, v, page, index);
    page_keys.insert(page_keys.end(), k, k + head_dim);
    if (index == keys.page_tokens - 1) keys.index.add_page(page_keys);
  }
}

void pack_locals(const AttentionInputs& in, const KeySource& source, int64_t begin, int64_t end,
                 HeadKeys& keys) {
  std::vector<float> rotated(static_cast<size_t>(in.shape.head_dim));
  for (int64_t u = begin; u < end; ++u) {
    const float* k = source.k + u * source.stride;
    const float* v = source.v + u * source.stride;
    rope_rotate(k, rotated.data(), *in.rope, u);
    keys.local.set(rotated.data(), v, u);
    if (keys.plain.rows.count() > 0) keys.plain.set(k, v, u);
  }
}

HeadKeys empty_head_keys(const AttentionInputs& in, const DocumentHead& document, bool backward) {
  const int64_t head_dim = in.shape.head_dim, tokens = document.tokens();
  const PackedKeys none(in.table.key_type, head_dim);
  const TwoWayKeys<PackedKeys> keys{.rows = none, .swapped = none, .backward = backward};
  const PackedPages no_pages(in.table.key_type, head_dim, std::max<int64_t>(1, in.shape.ring.page_tokens()));
  HeadKeys result{.local = keys,
                  .plain = keys,
                  .positions = {},
                  .bias = {},
                  .global = keys,
                  .pages = {.rows = no_pages, .swapped = no_pages, .backward = backward},
                  .index = PageIndex(head_dim)};
  result.local.resize(tokens);
  find_globals(in.shape, tokens, key_source(in, document).router, result);
  const bool global_queries = in.shape.mode == AttentionMode::kBidirectional && result.page_count() > 0;
  if (global_queries && !in.shape.ring.global_rope) result.plain.resize(tokens);
  return result;
}

}  // namespace

void select_page(const float* scores, int64_t score_stride, const RingGeometry& ring,
                 std::span<int32_t> page) {
  RF_CHECK(static_cast<int64_t>(page.size()) == ring.page_tokens());
  std::vector<int32_t> order(static_cast<size_t>(ring.stride));
  std::iota(order.begin(), order.end(), 0);
  const auto score = [&](int32_t offset) {
    // NaN ranks last: the order must be strict even for a broken model
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
  RF_CHECK(shape.first_query >= 0 && shape.first_query <= shape.tokens);
  RF_CHECK(shape.first_query == 0 || !chooses_pages(shape));  // a run's first query may be elsewhere
  RF_CHECK(!bounds.empty() && bounds.front() == 0 && bounds.back() == shape.tokens);
  std::vector<DocumentHead> documents;
  for (size_t d = 0; d + 1 < bounds.size(); ++d) {
    RF_CHECK(bounds[d] <= bounds[d + 1]);
    if (bounds[d] == bounds[d + 1] || bounds[d + 1] <= shape.first_query) continue;
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

AttentionInputs attention_inputs(const AttentionShape& shape, const float* q, const float* k, const float* v,
                                 const float* router, std::span<const DocumentHead> documents,
                                 const Table& table) {
  const bool has_pages = is_ring(shape) && shape.ring.page_tokens() > 0;
  RF_CHECK(!has_pages || router != nullptr);
  return {.shape = shape,
          .q = q,
          .k = k,
          .v = v,
          .router = has_pages ? router : nullptr,
          .rope = shared_rope_table(longest(documents), shape.head_dim, shape.rope),
          .table = table};
}

bool chooses_pages(const AttentionShape& shape) {
  if (!is_ring(shape) || shape.mode == AttentionMode::kBidirectional) return false;
  switch (shape.ring.select) {
    case GlobalSelect::kAll:
      return false;
    case GlobalSelect::kTopPages:
      return true;
  }
  RF_UNREACHABLE();
}

std::vector<HeadKeys> make_head_keys(const AttentionInputs& in, std::span<const DocumentHead> documents,
                                     bool backward, Executor& executor) {
  std::vector<HeadKeys> keys;
  for (const DocumentHead& document : documents) keys.push_back(empty_head_keys(in, document, backward));
  const int64_t runs = ceil_div(longest(documents), kPackTokens);
  executor.for_each(std::ssize(documents) * (runs + 1), [&](int64_t task) {
    const auto d = static_cast<size_t>(task / (runs + 1));
    const int64_t begin = task % (runs + 1) * kPackTokens;
    const KeySource source = key_source(in, documents[d]);
    if (task % (runs + 1) == runs) {
      pack_globals(in, source, keys[d]);
    } else if (begin < documents[d].tokens()) {
      pack_locals(in, source, begin, std::min(begin + kPackTokens, documents[d].tokens()), keys[d]);
    }
  });
  return keys;
}

}  // namespace ringflash::kernels
