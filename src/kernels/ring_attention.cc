#include "kernels/ring_attention.h"

#include "kernels/ring_blocks.h"

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
  const AttentionInputs in = attention_inputs(shape, q, k, v, router, documents, table);
  const std::vector<HeadKeys> keys = make_head_keys(in, documents, false, executor);
  const std::vector<Segment> segments = cut_segments(shape, documents, kSegmentTokens, shape.tokens);
  executor.for_each(std::ssize(segments), [&](int64_t s) {
    const Segment& segment = segments[static_cast<size_t>(s)];
    BlockWork work(in, documents[segment.document], keys[segment.document]);
    AlignedVector<float> block_out, block_lse;
    for (const QueryGroup& block : cut_blocks(shape, keys[segment.document], segment.begin, segment.end)) {
      work.load(block);
      const auto out_rows = work.result_rows(out, shape.head_dim, block_out);
      const auto lse_rows = work.result_rows(lse, 1, block_lse);
      table.attend(work.queries(), work.spans(),
                   {.out = out_rows.data,
                    .token_stride = out_rows.token_stride,
                    .head_stride = shape.head_dim,
                    .lse = lse_rows.data,
                    .lse_token_stride = lse_rows.token_stride});
      work.store(block_out, shape.head_dim, out);
      work.store(block_lse, 1, lse);
    }
  });
}

}  // namespace ringflash::kernels
