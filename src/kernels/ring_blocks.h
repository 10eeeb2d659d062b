// How the queries of a document are cut into blocks that see the same keys, and which keys those are.
// Internal to ring attention.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "kernels/ring_keys.h"

namespace ringflash::kernels {

/// Tokens in a query block, at most.
inline constexpr int64_t kBlockTokens = 64;

/// A share of one DocumentHead's queries: positions [begin, end).
struct Segment {
  size_t document;  ///< index into document_heads()
  int64_t begin, end;
};

/// Cuts every document's queries into at most `most` segments of at least `least` tokens (but for the last).
std::vector<Segment> cut_segments(const AttentionShape& shape, std::span<const DocumentHead> documents, int64_t least, int64_t most);

/// Queries that see the same keys, but for the causal edge: tokens of one chunk, in ascending order; in a
/// causal layer successive ones.
struct QueryGroup {
  std::vector<int64_t> positions;
  bool global = false;  ///< bidirectional: the chunk's page, whose tokens look at all positions
};

/// The blocks of positions [begin, end).
std::vector<QueryGroup> cut_blocks(const AttentionShape& shape, const HeadKeys& keys, int64_t begin,
                                   int64_t end);

/// Which of a document's keys a span holds.
enum class KeySet { kLocal, kPlain, kGlobal, kGathered };

/// One block's queries, rotated ones in private memory [tokens, group, head_dim], the spans they see, and
/// where their results go. Made once per task and filled again for each block.
class BlockWork {
 public:
  BlockWork(const AttentionInputs& in, const DocumentHead& document, const HeadKeys& keys);

  /// Loads a block; everything below is about it.
  void load(const QueryGroup& block);

  QueryBlock queries() const;
  std::span<const KeySpan> spans() const { return spans_; }
  KeySet set(size_t span) const { return sets_[span]; }
  /// Where the gathered keys lie among HeadKeys::positions.
  std::span<const int64_t> gathered_positions() const { return gathered_positions_; }

  /// The block's rows of a tensor of the batch, [tokens, heads, width]: where they lie if they are successive
  /// ones, else a copy in `scratch`.
  struct Rows {
    const float* data;
    int64_t token_stride;
  };
  Rows rows(const float* tensor, int64_t width, AlignedVector<float>& scratch) const;

  /// Where the block's rows of a result can be written: in place, or in `scratch`, from where store() puts
  /// them into the tensor.
  struct MutableRows {
    float* data;
    int64_t token_stride;
  };
  MutableRows result_rows(float* tensor, int64_t width, AlignedVector<float>& scratch) const;
  void store(const AlignedVector<float>& scratch, int64_t width, float* tensor) const;

 private:
  bool successive() const;
  const float* row(const float* tensor, int64_t width, int64_t position) const;
  void load_queries();
  void prefetch_next() const;
  void add_span(KeySet set, int64_t begin, int64_t end, int64_t visible);
  void add_causal_spans();
  void add_ring_spans();
  void gather_pages(int64_t visible_pages);

  const AttentionInputs& in_;
  const DocumentHead& document_;
  const HeadKeys& keys_;
  const QueryGroup* block_ = nullptr;
  AlignedVector<float> rotated_, plain_scratch_, query_bias_;
  Rows plain_{};
  std::vector<KeySpan> spans_;
  std::vector<KeySet> sets_;
  GatheredPages gathered_, gathered_swapped_;
  int64_t gathered_run_ = -1;  ///< the first position of the run that chose what is gathered
  std::vector<int32_t> chosen_;
  std::vector<int64_t> gathered_positions_;
  AlignedVector<float> gathered_bias_;
};

}  // namespace ringflash::kernels
