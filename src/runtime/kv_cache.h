// What one KV head of one layer keeps of the past (DESIGN section 3, "Cache at decode"), in the kernels' own
// layout and type. Full and sliding layers keep every key and value. Ring layers keep a ring of window + stride slots,
// and of each complete chunk its page; keys of pages are stored as global logits want them, rotated only with
// global_rope.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "kernels/packed_keys.h"
#include "kernels/page_index.h"
#include "model/config.h"

namespace ringflash {

/// The page of the chunk being filled: the best-scored tokens so far, ties to the earlier one, so that at the
/// chunk's end it is what kernels::select_page chooses from all scores. Pinned tokens (sinks) stay besides.
class OpenPage {
 public:
  struct Entry {
    int64_t position;
    float score;
    bool chosen, pinned;
    std::vector<float> key, value;
  };

  /// Keeps `page_tokens` of what it is offered; keys and values have head_dim numbers.
  OpenPage(int64_t page_tokens, int64_t head_dim) : page_tokens_(page_tokens), head_dim_(head_dim) {}

  /// Positions must be offered in ascending order.
  void offer(int64_t position, float score, bool pinned, const float* key, const float* value);

  /// The page in ascending order of position, leaving it empty for the next chunk.
  std::vector<Entry> close();

 private:
  /// The chosen entry that goes first; later positions lose ties. There must be a chosen one.
  std::vector<Entry>::iterator worst_chosen();

  int64_t page_tokens_, head_dim_;
  int64_t chosen_ = 0;
  std::vector<Entry> entries_;
};

/// A run of new tokens of one KV head: rows `k_stride` and so on apart, all within one chunk in a ring layer.
struct NewKeys {
  int64_t first, count;  ///< positions
  const float* k;        ///< unrotated
  const float* k_rotated;
  const float* v;
  int64_t stride;       ///< of k, k_rotated and v
  const float* router;  ///< scores r, null in layers without router
  int64_t router_stride;
};

/// The queries of one KV head's group for a run of tokens: heads side by side, tokens token_stride apart.
struct NewQueries {
  int64_t first, count;  ///< positions
  const float* q;        ///< unrotated
  const float* q_rotated;
  int64_t token_stride;
  int64_t heads;
};

class HeadCache {
 public:
  /// `context` bounds the positions, and with them the memory. `type` is that of the kernels that will read.
  HeadCache(const ModelConfig& config, AttentionKind kind, int64_t context, kernels::KeyType type);

  /// Adds the tokens that follow those already there. In a ring layer they replace the oldest chunk, which
  /// queries from here on do not see.
  void append(const NewKeys& keys);

  /// With top_pages, chooses the pages that the queries of the tokens of the last append read; else does
  /// nothing. Must be called between append() and visible(), once, with all of those tokens.
  void choose_pages(const NewQueries& queries);

  /// Sets `spans` to what queries at positions first, first + 1, ... see. They must be among the tokens of
  /// the last append; in a ring layer that makes them one chunk, and with top_pages they must be of one run.
  /// The order depends on the chunk alone: pages, older chunks, own chunk.
  void visible(int64_t first, std::vector<kernels::KeySpan>& spans) const;

  /// Lets go of what is needed for the last append's queries alone.
  void finish_queries();

  int64_t bytes() const;

 private:
  /// What one run of queries has chosen.
  struct Choice {
    int64_t run_begin;
    kernels::GatheredPages keys;
    AlignedVector<float> bias;
  };

  bool chooses() const { return kind_ == AttentionKind::kRing && ring_.select == GlobalSelect::kTopPages; }
  int64_t slot(int64_t position) const { return position % slots_; }
  int64_t pages_behind(int64_t position) const;
  void offer_to_page(const NewKeys& keys, int64_t index);
  void close_page();
  void store_page(const std::vector<OpenPage::Entry>& page);
  Choice choose(const NewQueries& queries, int64_t position) const;
  void add_global_spans(int64_t first, std::vector<kernels::KeySpan>& spans) const;
  kernels::KeySpan local_span(int64_t first_position, int64_t count, int64_t visible_keys) const;

  AttentionKind kind_;
  RingGeometry ring_;
  int64_t sliding_window_;
  kernels::KeyType type_;
  int64_t head_dim_, slots_, context_;
  int64_t end_ = 0;  ///< positions appended
  kernels::PackedKeys local_;
  OpenPage open_;

  kernels::PackedKeys globals_;  ///< page after page, page 0 with the sinks; with top_pages the sinks alone
  AlignedVector<float> bias_;    ///< of globals_; empty in layers without router
  int64_t first_page_rows_ = 0;  ///< page 0 and the sinks
  kernels::PackedPages pages_;   ///< with top_pages, as is all that follows
  AlignedVector<float> page_bias_;
  kernels::PageIndex index_;
  std::vector<Choice> choices_;  ///< of the runs of the last append, in order
};

}  // namespace ringflash
