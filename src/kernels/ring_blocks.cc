#include "kernels/ring_blocks.h"

#include <algorithm>
#include <numeric>

#include "base/ceil_div.h"
#include "base/check.h"

namespace ringflash::kernels {
namespace {

/// Positions [first chunk, last chunk] of the ring, cut where it wraps round: one interval or two.
struct Interval {
  int64_t begin, end;
};

/// Chunks [first, last], counted modulo `chunks` and fewer than those, as ascending intervals of chunks.
std::vector<Interval> unwrap(int64_t first, int64_t last, int64_t chunks) {
  if (first > last) return {};
  const int64_t length = last - first + 1, begin = ((first % chunks) + chunks) % chunks;
  if (begin + length <= chunks) return {{begin, begin + length}};
  return {{0, begin + length - chunks}, {begin, chunks}};
}

/// The band around a chunk and what lies outside, in chunks.
struct RingView {
  std::vector<Interval> band, outside;
};

RingView ring_view(const RingGeometry& ring, int64_t chunk, int64_t tokens) {
  const int64_t chunks = ring.chunk(tokens - 1) + 1, m = ring.band_chunks();
  if (chunks <= 2 * m + 1) return {{{0, chunks}}, {}};
  return {unwrap(chunk - m, chunk + m, chunks), unwrap(chunk + m + 1, chunk - m - 1 + chunks, chunks)};
}

/// Cuts positions into blocks of at most kBlockTokens.
void add_blocks(std::span<const int64_t> positions, bool global, std::vector<QueryGroup>& blocks) {
  for (size_t i = 0; i < positions.size(); i += kBlockTokens) {
    const auto part = positions.subspan(i, std::min<size_t>(kBlockTokens, positions.size() - i));
    blocks.push_back({.positions = {part.begin(), part.end()}, .global = global});
  }
}

/// Chunk by chunk: the tokens that no page keeps, then those that one does.
void cut_ring_blocks(const AttentionShape& shape, const HeadKeys& keys, int64_t begin, int64_t end,
                     std::vector<QueryGroup>& blocks) {
  const auto paged = std::span(keys.positions).subspan(static_cast<size_t>(keys.sinks));
  while (begin < end) {
    const int64_t chunk_end = std::min(end, (shape.ring.chunk(begin) + 1) * shape.ring.stride);
    std::vector<int64_t> ordinary, global;
    for (int64_t t = begin; t < chunk_end; ++t) {
      (std::binary_search(paged.begin(), paged.end(), t) ? global : ordinary).push_back(t);
    }
    add_blocks(ordinary, false, blocks);
    add_blocks(global, true, blocks);
    begin = chunk_end;
  }
}

/// Asks for rows that will be needed a block later; they go to the L2 cache.
void prefetch(const float* rows, int64_t stride, int64_t width, int64_t count) {
  constexpr int64_t kLineFloats = 16;
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t at = 0; at < width; at += kLineFloats) __builtin_prefetch(rows + i * stride + at, 0, 2);
  }
}

int64_t causal_block_end(const AttentionShape& shape, int64_t begin, int64_t end) {
  end = std::min(end, begin + kBlockTokens);
  if (shape.kind != AttentionKind::kRing) return end;
  end = std::min(end, (shape.ring.chunk(begin) + 1) * shape.ring.stride);
  return chooses_pages(shape) ? std::min(end, shape.ring.run_begin(begin) + shape.ring.top_pages_run) : end;
}

}  // namespace

std::vector<Segment> cut_segments(const AttentionShape& shape, std::span<const DocumentHead> documents, int64_t least, int64_t most) {
  std::vector<Segment> segments;
  for (size_t d = 0; d < documents.size(); ++d) {
    const int64_t tokens = documents[d].tokens(), first = documents[d].first_query(shape);
    const int64_t length = std::max(least, ceil_div(tokens - first, most));
    for (int64_t begin = first; begin < tokens; begin += length) {
      segments.push_back({.document = d, .begin = begin, .end = std::min(begin + length, tokens)});
    }
  }
  return segments;
}

std::vector<QueryGroup> cut_blocks(const AttentionShape& shape, const HeadKeys& keys, int64_t begin,
                                   int64_t end) {
  std::vector<QueryGroup> blocks;
  if (shape.mode == AttentionMode::kBidirectional && shape.kind == AttentionKind::kRing) {
    cut_ring_blocks(shape, keys, begin, end, blocks);
    return blocks;
  }
  while (begin < end) {
    std::vector<int64_t> positions(static_cast<size_t>(causal_block_end(shape, begin, end) - begin));
    std::iota(positions.begin(), positions.end(), begin);
    begin += std::ssize(positions);
    blocks.push_back({.positions = std::move(positions)});
  }
  return blocks;
}

BlockWork::BlockWork(const AttentionInputs& in, const DocumentHead& document, const HeadKeys& keys)
    : in_(in),
      document_(document),
      keys_(keys),
      gathered_(in.table.key_type, in.shape.head_dim),
      gathered_swapped_(in.table.key_type, in.shape.head_dim) {}

void BlockWork::load(const QueryGroup& block) {
  block_ = &block;
  load_queries();
  prefetch_next();
  spans_.clear();
  sets_.clear();
  const bool causal = in_.shape.mode == AttentionMode::kCausal;
  if (causal) {
    add_causal_spans();
  } else if (in_.shape.kind == AttentionKind::kFull) {
    add_span(KeySet::kLocal, 0, document_.tokens(), kAllVisible);
  } else {
    add_ring_spans();
  }
}

/// The next block's queries come from memory while this one's are worked on.
void BlockWork::prefetch_next() const {
  if (!successive()) return;
  const int64_t head_dim = in_.shape.head_dim, begin = block_->positions.back() + 1;
  const int64_t tokens = std::min(std::ssize(block_->positions), document_.tokens() - begin);
  prefetch(row(in_.q, head_dim, begin), in_.shape.heads * head_dim, group_size(in_.shape) * head_dim, tokens);
}

void BlockWork::load_queries() {
  const int64_t head_dim = in_.shape.head_dim, group = group_size(in_.shape);
  plain_ = rows(in_.q, head_dim, plain_scratch_);
  rotated_.resize(block_->positions.size() * static_cast<size_t>(group * head_dim));
  float* rotated = rotated_.data();
  for (size_t i = 0; i < block_->positions.size(); ++i) {
    const float* plain = plain_.data + static_cast<int64_t>(i) * plain_.token_stride;
    for (int64_t h = 0; h < group; ++h, rotated += head_dim) {
      rope_rotate(plain + h * head_dim, rotated, *in_.rope, block_->positions[i]);
    }
  }
}

QueryBlock BlockWork::queries() const {
  const int64_t head_dim = in_.shape.head_dim, group = group_size(in_.shape);
  return {.q = rotated_.data(),
          .q_global = plain_.data,
          .tokens = std::ssize(block_->positions),
          .heads = group,
          .head_dim = head_dim,
          .token_stride = group * head_dim,
          .global_token_stride = plain_.token_stride,
          .head_stride = head_dim,
          .scale = logit_scale(head_dim)};
}

void BlockWork::add_span(KeySet set, int64_t begin, int64_t end, int64_t visible) {
  if (begin >= end) return;
  KeySpan span{};
  span.begin = begin;
  span.end = end;
  span.visible = visible;
  span.global = set != KeySet::kLocal && !in_.shape.ring.global_rope;
  const auto take = [&](const TwoWayKeys<PackedKeys>& keys) {
    span.rows = keys.rows.rows();
    span.swapped = keys.swapped.rows();
  };
  switch (set) {
    case KeySet::kLocal:
      take(keys_.local);
      break;
    case KeySet::kPlain:
      take(in_.shape.ring.global_rope ? keys_.local : keys_.plain);
      span.query_bias = query_bias_.data();
      break;
    case KeySet::kGlobal:
      take(keys_.global);
      span.bias = keys_.bias.empty() ? nullptr : keys_.bias.data();
      break;
    case KeySet::kGathered:
      span.rows = gathered_.rows();
      span.swapped = gathered_swapped_.rows();
      span.bias = gathered_bias_.data();
      break;
  }
  spans_.push_back(span);
  sets_.push_back(set);
}

void BlockWork::add_causal_spans() {
  const int64_t begin = block_->positions.front(), end = block_->positions.back() + 1;
  if (in_.shape.kind == AttentionKind::kFull) return add_span(KeySet::kLocal, 0, end, begin + 1);
  if (in_.shape.kind == AttentionKind::kSliding) {
    add_span(KeySet::kLocal, std::max<int64_t>(0, begin + 1 - in_.shape.sliding_window), end, begin + 1);
    spans_.back().window = in_.shape.sliding_window;
    return;
  }
  const RingGeometry& ring = in_.shape.ring;
  const int64_t behind = std::max<int64_t>(0, ring.chunk(begin) - ring.band_chunks());
  add_span(KeySet::kLocal, behind * ring.stride, end, begin + 1);
  if (behind == 0) return;
  if (!chooses_pages(in_.shape)) {
    return add_span(KeySet::kGlobal, 0, keys_.sinks + behind * keys_.page_tokens, kAllVisible);
  }
  add_span(KeySet::kGlobal, 0, keys_.sinks, kAllVisible);
  if (keys_.page_tokens == 0) return;
  gather_pages(behind);
  add_span(KeySet::kGathered, 0, std::ssize(gathered_positions_), kAllVisible);
}

void BlockWork::gather_pages(int64_t visible_pages) {
  const RingGeometry& ring = in_.shape.ring;
  const int64_t head_dim = in_.shape.head_dim, group = group_size(in_.shape);
  const int64_t first = ring.run_begin(block_->positions.front());
  if (first == gathered_run_) return;
  gathered_run_ = first;
  const float* q =
      in_.q + ((document_.begin + first) * in_.shape.key_value_heads + document_.head) * group * head_dim;
  AlignedVector<float> heads(q, q + group * head_dim);
  for (int64_t h = 0; ring.global_rope && h < group; ++h) {
    rope_rotate(q + h * head_dim, heads.data() + h * head_dim, *in_.rope, first);
  }
  const std::vector<float> query = sum_heads(heads, head_dim);
  keys_.index.choose(query, visible_pages, ring.page_budget(ring.chunk(first) + 1), chosen_);

  gathered_.gather(keys_.pages.rows, chosen_);
  if (keys_.pages.backward) gathered_swapped_.gather(keys_.pages.swapped, chosen_);
  gathered_positions_.clear();
  gathered_bias_.clear();
  for (const int32_t page : chosen_) {
    for (int64_t i = 0; i < keys_.page_tokens; ++i) {
      const int64_t position = keys_.sinks + page * keys_.page_tokens + i;
      gathered_positions_.push_back(position);
      gathered_bias_.push_back(keys_.bias[static_cast<size_t>(position)]);
    }
  }
}

void BlockWork::add_ring_spans() {
  const RingGeometry& ring = in_.shape.ring;
  const int64_t tokens = document_.tokens();
  const RingView view = ring_view(ring, ring.chunk(block_->positions.front()), tokens);
  for (const Interval& chunks : view.band) {
    add_span(KeySet::kLocal, chunks.begin * ring.stride, std::min(chunks.end * ring.stride, tokens),
             kAllVisible);
  }
  if (block_->global) {
    query_bias_.clear();
    for (const int64_t t : block_->positions) {
      const int64_t row = (document_.begin + t) * in_.shape.key_value_heads + document_.head;
      query_bias_.push_back(router_bias(in_.router[row]));
    }
  }
  for (const Interval& chunks : view.outside) {
    if (block_->global) {
      add_span(KeySet::kPlain, chunks.begin * ring.stride, std::min(chunks.end * ring.stride, tokens),
               kAllVisible);
    } else {
      const int64_t end = std::min(chunks.end, keys_.page_count());
      add_span(KeySet::kGlobal, chunks.begin * keys_.page_tokens, end * keys_.page_tokens, kAllVisible);
    }
  }
}

bool BlockWork::successive() const {
  return block_->positions.back() - block_->positions.front() == std::ssize(block_->positions) - 1;
}

const float* BlockWork::row(const float* tensor, int64_t width, int64_t position) const {
  const int64_t query = document_.begin + position - in_.shape.first_query;
  return tensor + (query * in_.shape.key_value_heads + document_.head) *
                      group_size(in_.shape) * width;
}

BlockWork::Rows BlockWork::rows(const float* tensor, int64_t width, AlignedVector<float>& scratch) const {
  if (successive()) {
    return {.data = row(tensor, width, block_->positions.front()), .token_stride = in_.shape.heads * width};
  }
  const int64_t group_width = group_size(in_.shape) * width;
  scratch.resize(block_->positions.size() * static_cast<size_t>(group_width));
  float* target = scratch.data();
  for (const int64_t t : block_->positions) target = std::copy_n(row(tensor, width, t), group_width, target);
  return {.data = scratch.data(), .token_stride = group_width};
}

BlockWork::MutableRows BlockWork::result_rows(float* tensor, int64_t width,
                                              AlignedVector<float>& scratch) const {
  if (successive()) {
    float* data = tensor + (row(tensor, width, block_->positions.front()) - tensor);
    prefetch(data, in_.shape.heads * width, group_size(in_.shape) * width, std::ssize(block_->positions));
    return {.data = data, .token_stride = in_.shape.heads * width};
  }
  const int64_t group_width = group_size(in_.shape) * width;
  scratch.resize(block_->positions.size() * static_cast<size_t>(group_width));
  return {.data = scratch.data(), .token_stride = group_width};
}

void BlockWork::store(const AlignedVector<float>& scratch, int64_t width, float* tensor) const {
  if (successive()) return;
  const int64_t group_width = group_size(in_.shape) * width;
  const float* source = scratch.data();
  for (const int64_t t : block_->positions) {
    std::copy_n(source, group_width, tensor + (row(tensor, width, t) - tensor));
    source += group_width;
  }
}

}  // namespace ringflash::kernels
