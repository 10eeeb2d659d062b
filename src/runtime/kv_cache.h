// What one KV head of one layer keeps of the past (DESIGN section 3, "Cache at decode"). Full layers keep
// every key and value. Ring layers keep a ring of window + stride slots, and of each complete chunk its page;
// keys of pages are stored as global logits want them, rotated only with global_rope.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.h"
#include "kernels/kernels.h"
#include "model/config.h"

namespace ringflash {

/// Rows of keys and values that grow a quarter at a time, up to a limit known beforehand.
class KeyValueRows {
 public:
  KeyValueRows(int64_t head_dim, int64_t limit) : head_dim_(head_dim), limit_(limit) {}

  /// Makes rows [0, rows) exist; those that do already keep their values.
  void extend(int64_t rows);
  int64_t rows() const { return rows_; }
  float* k(int64_t row) { return k_.data() + row * head_dim_; }
  float* v(int64_t row) { return v_.data() + row * head_dim_; }
  const float* k(int64_t row) const { return k_.data() + row * head_dim_; }
  const float* v(int64_t row) const { return v_.data() + row * head_dim_; }
  int64_t bytes() const { return static_cast<int64_t>((k_.capacity() + v_.capacity()) * sizeof(float)); }

 private:
  int64_t head_dim_, limit_, rows_ = 0;
  AlignedVector<float> k_, v_;
};

/// The page of the chunk being filled: the best-scored tokens so far, ties to the earlier one, so that at the
/// chunk's end it is what kernels::select_page chooses from all scores. Pinned tokens (sinks) stay besides.
class OpenPage {
 public:
  struct Entry {
    int64_t position;
    float score;
    bool chosen, pinned;
    std::vector<float> key;
  };

  /// Keeps `page_tokens` of what it is offered; keys have head_dim numbers.
  OpenPage(int64_t page_tokens, int64_t head_dim) : page_tokens_(page_tokens), head_dim_(head_dim) {}

  /// Positions must be offered in ascending order.
  void offer(int64_t position, float score, bool pinned, const float* key);

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

class HeadCache {
 public:
  /// `context` bounds the positions, and with them the memory.
  HeadCache(const ModelConfig& config, AttentionKind kind, int64_t context);

  /// Adds the tokens that follow those already there. In a ring layer they replace the oldest chunk, which
  /// queries from here on do not see.
  void append(const NewKeys& keys);

  /// Sets `spans` to what queries at positions first, first + 1, ... see. They must be among the tokens of
  /// the last append; in a ring layer that makes them one chunk. The order depends on the chunk alone: pages,
  /// older chunks, own chunk.
  void visible(int64_t first, std::vector<kernels::KeySpan>& spans) const;

  int64_t bytes() const;

 private:
  int64_t slot(int64_t position) const { return position % slots_; }
  void offer_to_page(const NewKeys& keys, int64_t index);
  void close_page();
  int64_t visible_page_rows(int64_t chunk) const;
  kernels::KeySpan local_span(int64_t first_position, int64_t count, int64_t visible_keys) const;

  AttentionKind kind_;
  RingGeometry ring_;
  int64_t head_dim_, slots_;
  int64_t end_ = 0;  ///< positions appended
  KeyValueRows local_, pages_;
  AlignedVector<float> page_bias_;  ///< empty in layers without router
  int64_t first_page_rows_ = 0;     ///< page 0 also holds the sinks
  OpenPage open_;
};

}  // namespace ringflash
