#include "runtime/kv_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "kernels/ring_attention.h"

namespace ringflash {
namespace {

/// Makes keys [0, count) exist, growing by a quarter at a time up to a limit known beforehand.
void grow(kernels::PackedKeys& keys, int64_t count, int64_t limit) {
  RF_CHECK(count <= limit);
  if (count <= keys.count()) return;
  const int64_t held = keys.count();
  if (count > keys.reserved()) keys.reserve(std::min(limit, std::max(count, held + held / 4)));
  keys.resize(count);
}

}  // namespace

void OpenPage::offer(int64_t position, float score, bool pinned, const float* key, const float* value) {
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
  entries_.push_back({.position = position,
                      .score = score,
                      .chosen = chosen,
                      .pinned = pinned,
                      .key = {key, key + head_dim_},
                      .value = {value, value + head_dim_}});
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

HeadCache::HeadCache(const ModelConfig& config, AttentionKind kind, int64_t context, kernels::KeyType type)
    : kind_(kind),
      ring_(config.ring),
      sliding_window_(config.sliding_window),
      type_(type),
      head_dim_(config.head_dim),
      slots_(kind == AttentionKind::kRing ? ring_.window + ring_.stride : context),
      context_(context),
      local_(type, head_dim_),
      open_(ring_.page_tokens(), head_dim_),
      globals_(type, head_dim_),
      pages_(type, head_dim_, std::max<int64_t>(1, ring_.page_tokens())),
      index_(head_dim_) {}

void HeadCache::append(const NewKeys& keys) {
  RF_CHECK(keys.first == end_ && keys.count > 0);
  if (kind_ == AttentionKind::kRing) {
    RF_CHECK(ring_.chunk(keys.first) == ring_.chunk(keys.first + keys.count - 1));
    RF_CHECK((keys.router != nullptr) == (ring_.page_tokens() > 0));
  }
  grow(local_, std::max(local_.count(), std::min(keys.first + keys.count, slots_)),
       std::min(slots_, context_));
  for (int64_t i = 0; i < keys.count; ++i) {
    local_.set(slot(keys.first + i), keys.k_rotated + i * keys.stride, keys.v + i * keys.stride);
    if (kind_ == AttentionKind::kRing) offer_to_page(keys, i);
  }
  end_ += keys.count;
  if (kind_ == AttentionKind::kRing && end_ % ring_.stride == 0) close_page();
}

void HeadCache::offer_to_page(const NewKeys& keys, int64_t index) {
  const int64_t position = keys.first + index;
  const float score = keys.router == nullptr ? 0.0f : keys.router[index * keys.router_stride];
  const float* key = (ring_.global_rope ? keys.k_rotated : keys.k) + index * keys.stride;
  open_.offer(position, score, position < ring_.sink_tokens, key, keys.v + index * keys.stride);
}

void HeadCache::close_page() {
  const std::vector<OpenPage::Entry> page = open_.close();
  if (chooses() && ring_.page_tokens() > 0) store_page(page);
  for (const OpenPage::Entry& entry : page) {
    if (chooses() && !entry.pinned) continue;
    const int64_t row = globals_.count();
    grow(globals_, row + 1, ring_.sink_tokens + context_ / ring_.stride * ring_.page_tokens());
    globals_.set(row, entry.key.data(), entry.value.data());
    if (ring_.page_tokens() > 0) bias_.push_back(kernels::router_bias(entry.score));
  }
  if (end_ == ring_.stride) first_page_rows_ = globals_.count();
}

void HeadCache::store_page(const std::vector<OpenPage::Entry>& page) {
  const int64_t number = pages_.pages();
  if (number == pages_.reserved()) {
    pages_.reserve(std::min(context_ / ring_.stride, number + std::max<int64_t>(1, number / 4)));
  }
  pages_.add_page();
  page_bias_.reserve(static_cast<size_t>(pages_.reserved() * ring_.page_tokens()));
  std::vector<float> keys;
  int64_t index = 0;
  for (const OpenPage::Entry& entry : page) {
    if (!entry.chosen) continue;
    pages_.set(number, index++, entry.key.data(), entry.value.data());
    // Queries see the sinks besides.
    page_bias_.push_back(entry.pinned ? -std::numeric_limits<float>::infinity()
                                      : kernels::router_bias(entry.score));
    keys.insert(keys.end(), entry.key.begin(), entry.key.end());
  }
  index_.add_page(keys);
}

int64_t HeadCache::pages_behind(int64_t position) const {
  return std::max<int64_t>(0, ring_.chunk(position) - ring_.band_chunks());
}

void HeadCache::choose_pages(const NewQueries& queries) {
  if (!chooses() || ring_.page_tokens() == 0) return;
  RF_CHECK(queries.first + queries.count == end_);
  // The first run may have begun, and chosen, in an earlier piece.
  finish_queries();
  if (!choices_.empty() && choices_.back().run_begin != ring_.run_begin(queries.first)) choices_.clear();
  for (int64_t t = queries.first; t < end_; ++t) {
    if (t == ring_.run_begin(t) && pages_behind(t) > 0) choices_.push_back(choose(queries, t));
  }
}

void HeadCache::finish_queries() {
  if (choices_.size() > 1) choices_.erase(choices_.begin(), choices_.end() - 1);
  choices_.shrink_to_fit();
}

HeadCache::Choice HeadCache::choose(const NewQueries& queries, int64_t position) const {
  const float* q =
      (ring_.global_rope ? queries.q_rotated : queries.q) + (position - queries.first) * queries.token_stride;
  const std::vector<float> query =
      kernels::sum_heads({q, static_cast<size_t>(queries.heads * head_dim_)}, head_dim_);
  std::vector<int32_t> chosen;
  index_.choose(query, pages_behind(position), ring_.page_budget(ring_.chunk(position) + 1), chosen);
  Choice choice{.run_begin = position, .keys = kernels::GatheredPages(type_, head_dim_), .bias = {}};
  choice.keys.gather(pages_, chosen);
  for (const int32_t page : chosen) {
    const float* bias = page_bias_.data() + page * ring_.page_tokens();
    choice.bias.insert(choice.bias.end(), bias, bias + ring_.page_tokens());
  }
  return choice;
}

kernels::KeySpan HeadCache::local_span(int64_t first_position, int64_t count, int64_t visible_keys) const {
  const int64_t row = slot(first_position);
  kernels::KeySpan span{};
  span.rows = local_.rows();
  span.begin = row;
  span.end = row + count;
  span.visible = visible_keys == kernels::kAllVisible ? visible_keys : row + visible_keys;
  return span;
}

void HeadCache::add_global_spans(int64_t first, std::vector<kernels::KeySpan>& spans) const {
  const int64_t pages = pages_behind(first);
  if (pages == 0) return;
  kernels::KeySpan span{};
  span.visible = kernels::kAllVisible;
  span.global = !ring_.global_rope;
  span.rows = globals_.rows();
  span.bias = bias_.empty() ? nullptr : bias_.data();
  span.end = chooses() ? globals_.count() : first_page_rows_ + (pages - 1) * ring_.page_tokens();
  if (span.end > 0) spans.push_back(span);
  if (!chooses() || ring_.page_tokens() == 0) return;
  const int64_t run = ring_.run_begin(first);
  const auto choice =
      std::find_if(choices_.begin(), choices_.end(), [&](const Choice& c) { return c.run_begin == run; });
  RF_CHECK(choice != choices_.end());
  span.rows = choice->keys.rows();
  span.bias = choice->bias.data();
  span.end = std::ssize(choice->bias);
  spans.push_back(span);
}

void HeadCache::visible(int64_t first, std::vector<kernels::KeySpan>& spans) const {
  spans.clear();
  if (kind_ == AttentionKind::kFull) {
    spans.push_back(local_span(0, end_, first + 1));
    return;
  }
  if (kind_ == AttentionKind::kSliding) {
    kernels::KeySpan span = local_span(0, end_, first + 1);
    const int64_t begin = std::max<int64_t>(0, first + 1 - sliding_window_);
    span.begin = begin / kernels::kSpanSteps * kernels::kSpanSteps;  // the same bits in pieces of any size
    span.window = sliding_window_;
    spans.push_back(span);
    return;
  }
  add_global_spans(first, spans);
  const int64_t chunk_begin = ring_.chunk(first) * ring_.stride;
  for (int64_t p = std::max<int64_t>(0, chunk_begin - ring_.window); p < chunk_begin;) {
    const int64_t count = std::min(chunk_begin - p, slots_ - slot(p));  // up to the end of the ring's memory
    spans.push_back(local_span(p, count, kernels::kAllVisible));
    p += count;
  }
  spans.push_back(local_span(chunk_begin, end_ - chunk_begin, first - chunk_begin + 1));
}

int64_t HeadCache::bytes() const {
  int64_t bytes = local_.bytes() + globals_.bytes() + pages_.bytes() + index_.bytes();
  bytes += static_cast<int64_t>((bias_.capacity() + page_bias_.capacity()) * sizeof(float));
  for (const Choice& choice : choices_) {
    bytes += choice.keys.bytes() + static_cast<int64_t>(choice.bias.capacity() * sizeof(float));
  }
  return bytes;
}

}  // namespace ringflash
