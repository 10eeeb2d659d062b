// The geometry behind ring attention: which keys a run of queries may see, as spans, and how the work is cut.
// Internal to ring_attention.cc and ring_attention_backward.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "kernels/ring_attention.h"
#include "kernels/rope.h"

namespace ringflash::kernels {

/// One document of a packed batch for one KV head.
struct DocumentHead {
  int64_t begin, end;  ///< rows of the packed batch
  int64_t head;        ///< the KV head

  int64_t tokens() const { return end - begin; }
};

/// Every non-empty document times every KV head. Aborts unless `bounds` is as attention_forward states.
std::vector<DocumentHead> document_heads(const AttentionShape& shape, std::span<const int64_t> bounds);

/// Tokens of the longest document; 0 without documents.
int64_t longest(std::span<const DocumentHead> documents);

/// The keys of one DocumentHead, ready to attend to.
struct HeadKeys {
  AlignedVector<float> rotated;  ///< [tokens, head_dim]
  const float* v;                ///< the caller's values at the document's first token, v_stride apart
  int64_t v_stride;
  std::vector<int64_t> positions;   ///< of the global keys: the sinks that page 0 lacks, page 0, page 1, ...
  int64_t lone_sinks, page_tokens;  ///< how many of the positions are such sinks, and one page
  AlignedVector<float> global_k, global_v;  ///< gathered, [positions, head_dim]
  AlignedVector<float> global_bias;         ///< log sigma(r); empty without a router
};

/// Whether global keys have a bias and pages. Aborts where a layer that needs a router has none.
bool uses_router(const AttentionShape& shape, const float* router);

/// Rotates the keys, selects the pages and gathers what they keep. `table` covers the document.
HeadKeys make_head_keys(const AttentionShape& shape, const DocumentHead& document, const float* k,
                        const float* v, const float* router, const RopeTable& table);

/// A run of queries that see the same pages: positions [begin, end) of a document, within one chunk.
struct BlockRange {
  int64_t begin, end;
  int64_t first_key;  ///< of the local span, which ends at `end`
  int64_t globals;    ///< how many of HeadKeys::positions it sees
};

/// The block that starts at `begin` and ends before `limit`.
BlockRange next_block(const AttentionShape& shape, const HeadKeys& keys, int64_t begin, int64_t limit);

/// Spans of keys for a block: the local one, then the global one unless it is empty.
struct BlockSpans {
  KeySpan spans[2];
  size_t count;

  std::span<const KeySpan> view() const { return {spans, count}; }
};
BlockSpans block_spans(const AttentionShape& shape, const HeadKeys& keys, const BlockRange& block);

/// The queries of a block in private contiguous memory: rotated and as they came, both [tokens, group,
/// head_dim].
class QueryScratch {
 public:
  explicit QueryScratch(const AttentionShape& shape);

  /// Copies and rotates a block's rows of q; the result is valid until the next call.
  QueryBlock load(const DocumentHead& document, const BlockRange& block, const float* q,
                  const RopeTable& table);

 private:
  AttentionShape shape_;
  AlignedVector<float> rotated_, plain_;
};

/// A share of one DocumentHead's queries: positions [begin, end).
struct Segment {
  size_t document;  ///< index into document_heads()
  int64_t begin, end;
};

/// Cuts every document into at most `most` segments of at least `least` tokens (but for the last).
std::vector<Segment> cut_segments(std::span<const DocumentHead> documents, int64_t least, int64_t most);

/// Tokens in a query block, at most.
inline constexpr int64_t kBlockTokens = 64;

/// Query heads that share a KV head.
inline int64_t group_size(const AttentionShape& shape) {
  return shape.heads / shape.key_value_heads;
}

}  // namespace ringflash::kernels
