// The keys of each document and KV head, packed for the kernels: all of them rotated, and the global ones.
// Internal to ring attention.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/executor.h"
#include "kernels/packed_keys.h"
#include "kernels/page_index.h"
#include "kernels/ring_attention.h"
#include "kernels/rope.h"

namespace ringflash::kernels {

/// What attention_forward and attention_backward read; see there for the layouts.
struct AttentionInputs {
  const AttentionShape& shape;
  const float *q, *k, *v, *router;        ///< router is null where the layer has none
  std::shared_ptr<const RopeTable> rope;  ///< covers the longest document
  const Table& table;
};

/// One document of a packed batch for one KV head.
struct DocumentHead {
  int64_t begin, end;  ///< rows of the packed batch
  int64_t head;        ///< the KV head

  int64_t tokens() const { return end - begin; }
  /// The first position with a query.
  int64_t first_query(const AttentionShape& shape) const { return std::max<int64_t>(0, shape.first_query - begin); }
};

/// Every document with queries times every KV head. Aborts unless `bounds` is as attention_forward states.
std::vector<DocumentHead> document_heads(const AttentionShape& shape, std::span<const int64_t> bounds);

/// Tokens of the longest document; 0 without documents.
int64_t longest(std::span<const DocumentHead> documents);

/// The inputs with their rotations; a router is dropped where the shape has no pages. Aborts where a layer
/// that needs one has none.
AttentionInputs attention_inputs(const AttentionShape& shape, const float* q, const float* k, const float* v,
                                 const float* router, std::span<const DocumentHead> documents,
                                 const Table& table);

/// Whether queries choose among the pages.
bool chooses_pages(const AttentionShape& shape);

/// Keys as the forward kernel wants them and, for the backward one, with values in the keys' place as well.
template <typename Keys>
struct TwoWayKeys {
  Keys rows, swapped;
  bool backward;

  void resize(int64_t count) {
    rows.resize(count);
    if (backward) swapped.resize(count);
  }
  void add_page() {
    rows.add_page();
    if (backward) swapped.add_page();
  }

  template <typename... Index>
  void set(const float* k, const float* v, Index... index) {
    rows.set(index..., k, v);
    if (backward) swapped.set(index..., v, k);
  }
};

/// The keys of one DocumentHead, ready to attend to.
struct HeadKeys {
  TwoWayKeys<PackedKeys> local;  ///< rotated
  TwoWayKeys<PackedKeys> plain;  ///< unrotated, where global queries want them so; else empty

  /// Positions of the global keys: `sinks` sinks, then pages of page_tokens each. With top_pages every sink
  /// is among the sinks, and page 0 does not count it (its bias is -infinity); else those that page 0 lacks.
  std::vector<int64_t> positions;
  int64_t sinks = 0, page_tokens = 0;
  AlignedVector<float> bias;      ///< log sigma(r) of the positions; empty without a router
  TwoWayKeys<PackedKeys> global;  ///< at the positions; with top_pages the sinks alone,
  TwoWayKeys<PackedPages> pages;  ///< and here the pages
  PageIndex index;

  int64_t page_count() const { return page_tokens == 0 ? 0 : (std::ssize(positions) - sinks) / page_tokens; }
};

/// Rotates and packs all keys, selects the pages and packs what they keep. `backward`: for attend_backward
/// too.
std::vector<HeadKeys> make_head_keys(const AttentionInputs& in, std::span<const DocumentHead> documents,
                                     bool backward, Executor& executor);

/// Query heads that share a KV head.
inline int64_t group_size(const AttentionShape& shape) {
  return shape.heads / shape.key_value_heads;
}

}  // namespace ringflash::kernels
