#include "runtime/kv_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "kernels/ring_attention.h"

namespace ringflash {
namespace {

/// Rows that the pages of `context` positions hold at most.
int64_t most_page_rows(const RingGeometry& ring, int64_t context) {
  return ring.sink_tokens + context / ring.stride * ring.page_tokens();
}

}  // namespace

void KeyValueRows::extend(int64_t rows) {
  RF_CHECK(rows <= limit_);
  if (rows <= rows_) return;
  constexpr int64_t kFirstRows = 16;
  const auto allocated = static_cast<int64_t>(k_.capacity()) / head_dim_;
  if (rows > allocated) {
    const auto wanted = std::min(limit_, std::max({rows, kFirstRows, allocated + allocated / 4}));
    k_.reserve(static_cast<size_t>(wanted * head_dim_));
    v_.reserve(static_cast<size_t>(wanted * head_dim_));
  }
  k_.resize(static_cast<size_t>(rows * head_dim_));
  v_.resize(static_cast<size_t>(rows * head_dim_));
  rows_ = rows;
}

void OpenPage::offer(int64_t position, float score, bool pinned, const float* key) {
  bool chosen = chosen_ < page_tokens_;
  if (!chosen && page_tokens_ > 0) {
    const auto worst = worst_chosen();
    if (score > worst->score) {
      chosen = true;
      --chosen_;
      worst->chosen = false;
      if (!worst->pinned) entries_.erase(worst);
    }
  }
  if (!chosen && !pinned) return;
  entries_.push_back({position, score, chosen, pinned, std::vector<float>(key, key + head_dim_)});
  chosen_ += chosen ? 1 : 0;
}

std::vector<OpenPage::Entry>::iterator OpenPage::worst_chosen() {
  const auto worse = [](const Entry& a, const Entry& b) {
    if (a.chosen != b.chosen) return a.chosen;
    return a.score != b.score ? a.score < b.score : a.position > b.position;
  };
  return std::min_element(entries_.begin(), entries_.end(), worse);
}

std::vector<OpenPage::Entry> OpenPage::close() {
  chosen_ = 0;
  return std::exchange(entries_, {});
}

HeadCache::HeadCache(const ModelConfig& config, AttentionKind kind, int64_t context)
    : kind_(kind),
      ring_(config.ring),
      head_dim_(config.head_dim),
      slots_(kind == AttentionKind::kRing ? ring_.window + ring_.stride : context),
      local_(head_dim_, std::min(slots_, context)),
      pages_(head_dim_, most_page_rows(ring_, context)),
      open_(ring_.page_tokens(), head_dim_) {}

void HeadCache::append(const NewKeys& keys) {
  RF_CHECK(keys.first == end_ && keys.count > 0);
  if (kind_ == AttentionKind::kRing) {
    RF_CHECK(ring_.chunk(keys.first) == ring_.chunk(keys.first + keys.count - 1));
    RF_CHECK((keys.router != nullptr) == (ring_.page_tokens() > 0));
  }
  local_.extend(std::max(local_.rows(), std::min(keys.first + keys.count, slots_)));
  for (int64_t i = 0; i < keys.count; ++i) {
    const int64_t row = slot(keys.first + i);
    std::copy_n(keys.k_rotated + i * keys.stride, head_dim_, local_.k(row));
    std::copy_n(keys.v + i * keys.stride, head_dim_, local_.v(row));
    if (kind_ == AttentionKind::kRing) offer_to_page(keys, i);
  }
  end_ += keys.count;
  if (kind_ == AttentionKind::kRing && end_ % ring_.stride == 0) close_page();
}

void HeadCache::offer_to_page(const NewKeys& keys, int64_t index) {
  const int64_t position = keys.first + index;
  const float score = keys.router == nullptr ? 0.0f : keys.router[index * keys.router_stride];
  const float* key = (ring_.global_rope ? keys.k_rotated : keys.k) + index * keys.stride;
  open_.offer(position, score, position < ring_.sink_tokens, key);
}

void HeadCache::close_page() {
  const std::vector<OpenPage::Entry> page = open_.close();
  int64_t row = pages_.rows();
  pages_.extend(row + static_cast<int64_t>(page.size()));
  for (const OpenPage::Entry& entry : page) {
    std::copy_n(entry.key.data(), head_dim_, pages_.k(row));
    std::copy_n(local_.v(slot(entry.position)), head_dim_, pages_.v(row));
    if (ring_.page_tokens() > 0) page_bias_.push_back(kernels::router_bias(entry.score));
    ++row;
  }
  if (end_ == ring_.stride) first_page_rows_ = row;
}

int64_t HeadCache::visible_page_rows(int64_t chunk) const {
  const int64_t pages = chunk - ring_.band_chunks();
  return pages <= 0 ? 0 : first_page_rows_ + (pages - 1) * ring_.page_tokens();
}

kernels::KeySpan HeadCache::local_span(int64_t first_position, int64_t count, int64_t visible_keys) const {
  const int64_t row = slot(first_position);
  return {.k = local_.k(row),
          .v = local_.v(row),
          .bias = nullptr,
          .k_stride = head_dim_,
          .v_stride = head_dim_,
          .count = count,
          .visible = visible_keys,
          .global = false};
}

void HeadCache::visible(int64_t first, std::vector<kernels::KeySpan>& spans) const {
  spans.clear();
  if (kind_ == AttentionKind::kFull) {
    spans.push_back(local_span(0, end_, first + 1));
    return;
  }
  const int64_t chunk = ring_.chunk(first);
  if (const int64_t rows = visible_page_rows(chunk); rows > 0) {
    spans.push_back({.k = pages_.k(0),
                     .v = pages_.v(0),
                     .bias = page_bias_.empty() ? nullptr : page_bias_.data(),
                     .k_stride = head_dim_,
                     .v_stride = head_dim_,
                     .count = rows,
                     .visible = kernels::kAllVisible,
                     .global = !ring_.global_rope});
  }
  const int64_t chunk_begin = chunk * ring_.stride;
  for (int64_t p = std::max<int64_t>(0, chunk_begin - ring_.window); p < chunk_begin;) {
    const int64_t count = std::min(chunk_begin - p, slots_ - slot(p));  // up to the end of the ring's memory
    spans.push_back(local_span(p, count, kernels::kAllVisible));
    p += count;
  }
  spans.push_back(local_span(chunk_begin, end_ - chunk_begin, first - chunk_begin + 1));
}

int64_t HeadCache::bytes() const {
  return local_.bytes() + pages_.bytes() + static_cast<int64_t>(page_bias_.capacity() * sizeof(float));
}

}  // namespace ringflash
