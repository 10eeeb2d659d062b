#include "kernels/ring_attention.h"

#include "kernels/ring_plan.h"

namespace ringflash::kernels {
namespace {

// A forward task's share of a document: small enough to spread a single sequence over many cores.
constexpr int64_t kSegmentTokens = 4 * kBlockTokens;

}  // namespace

void attention_forward(const AttentionShape& shape, const float* q, const float* k, const float* v,
                       const float* router, std::span<const int64_t> bounds, float* out, float* lse,
                       const Table& table, Executor& executor) {
  const std::vector<DocumentHead> documents = document_heads(shape, bounds);
  if (documents.empty()) return;
  const auto rope = shared_rope_table(longest(documents), shape.head_dim, shape.rope_theta);

  std::vector<HeadKeys> keys(documents.size());
  executor.for_each(static_cast<int64_t>(documents.size()), [&](int64_t d) {
    const auto i = static_cast<size_t>(d);
    keys[i] = make_head_keys(shape, documents[i], k, v, router, *rope);
  });

  const std::vector<Segment> segments = cut_segments(documents, kSegmentTokens, shape.tokens);
  executor.for_each(static_cast<int64_t>(segments.size()), [&](int64_t s) {
    const Segment& segment = segments[static_cast<size_t>(s)];
    const DocumentHead& document = documents[segment.document];
    const HeadKeys& head_keys = keys[segment.document];
    QueryScratch scratch(shape);
    for (int64_t t = segment.begin; t < segment.end;) {
      const BlockRange block = next_block(shape, head_keys, t, segment.end);
      const QueryBlock queries = scratch.load(document, block, q, *rope);
      const int64_t row = (document.begin + t) * shape.heads + document.head * queries.heads;
      table.attend(queries, block_spans(shape, head_keys, block).view(),
                   {.out = out + row * shape.head_dim,
                    .token_stride = shape.heads * shape.head_dim,
                    .head_stride = shape.head_dim,
                    .lse = lse + row,
                    .lse_token_stride = shape.heads});
      t = block.end;
    }
  });
}

}  // namespace ringflash::kernels
