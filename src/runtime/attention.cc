#include "runtime/attention.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "base/grow.h"

namespace ringflash {
namespace {

// Queries of one attention task: enough to reuse the keys it reads, few enough to spread a piece over the
// threads.
constexpr int64_t kQueryTokens = 64;

// So many elements of keys are read in about the time that it takes to hand them out.
constexpr int64_t kFewKeyElements = 16384;

// With so many KV heads for each thread, one that has a head more than another hardly matters.
constexpr int64_t kManyHeads = 4;

/// Rotates one KV head's keys and its group's queries, puts the keys into the cache and lets the queries choose.
void rotate_and_store(TokenRun piece, int64_t head, const LayerWeights& weights, HeadCache& cache, Workspace& work) {
  const ModelConfig& c = work.config;
  const kernels::RopeTable& rope = work.rope_of(weights.attention);
  const bool routed = weights.router.data != nullptr;
  const int64_t group = c.heads_per_group();
  const int64_t head_begin = head * c.head_dim;
  for (int64_t t = 0; t < piece.tokens; ++t) {
    const int64_t key = (piece.row + t) * c.key_value_size() + head_begin;
    kernels::rope_rotate(work.k.data() + key, work.k_rotated.data() + key, rope, piece.first + t);
    for (int64_t h = 0; h < group; ++h) {
      const int64_t query = (piece.row + t) * c.query_size() + (head * group + h) * c.head_dim;
      kernels::rope_rotate(work.q.data() + query, work.q_rotated.data() + query, rope, piece.first + t);
    }
  }
  const int64_t first_key = piece.row * c.key_value_size() + head_begin;
  cache.append({.first = piece.first,
                .count = piece.tokens,
                .k = work.k.data() + first_key,
                .k_rotated = work.k_rotated.data() + first_key,
                .v = work.v.data() + first_key,
                .stride = c.key_value_size(),
                .router = routed ? work.router.data() + piece.row * c.num_key_value_heads + head : nullptr,
                .router_stride = c.num_key_value_heads});
  const int64_t query_begin = piece.row * c.query_size() + head * group * c.head_dim;
  cache.choose_pages({.first = piece.first,
                      .count = piece.tokens,
                      .q = work.q.data() + query_begin,
                      .q_rotated = work.q_rotated.data() + query_begin,
                      .token_stride = c.query_size(),
                      .heads = group});
}

/// Tokens [begin, end) of a piece whose queries see the same pages.
struct QueryRun {
  int64_t begin, end;
};

std::vector<QueryRun> cut_queries(TokenRun piece, const RingGeometry& ring) {
  std::vector<QueryRun> runs;
  for (int64_t begin = 0; begin < piece.tokens;) {
    int64_t end = std::min(begin + kQueryTokens, piece.tokens);
    if (ring.select == GlobalSelect::kTopPages) {
      const int64_t position = piece.first + begin;
      end = std::min({end, ring.run_begin(position) + ring.top_pages_run - piece.first,
                      (ring.chunk(position) + 1) * ring.stride - piece.first});
    }
    runs.push_back({begin, end});
    begin = end;
  }
  return runs;
}

/// The queries of one KV head's group for tokens [begin, begin + count) of a piece, and where their result goes.
struct HeadQueries {
  kernels::QueryBlock block;
  std::vector<kernels::KeySpan> spans;
  kernels::AttentionOutput output;

  HeadQueries(TokenRun piece, int64_t head, int64_t begin, int64_t count, const HeadCache& cache, Workspace& work) {
    const ModelConfig& c = work.config;
    const int64_t at = (piece.row + begin) * c.query_size() + head * c.heads_per_group() * c.head_dim;
    block = {.q = work.q_rotated.data() + at,
             .q_global = work.q.data() + at,
             .tokens = count,
             .heads = c.heads_per_group(),
             .head_dim = c.head_dim,
             .token_stride = c.query_size(),
             .global_token_stride = c.query_size(),
             .head_stride = c.head_dim,
             .scale = kernels::logit_scale(c.head_dim)};
    output = {.out = work.attended.data() + at,
              .token_stride = c.query_size(),
              .head_stride = c.head_dim,
              .lse = nullptr,
              .lse_token_stride = 0};
    cache.visible(piece.first + begin, spans);
  }
};

void attend_block(TokenRun piece, int64_t head, int64_t begin, int64_t count, const HeadCache& cache, Workspace& work) {
  const HeadQueries queries(piece, head, begin, count, cache, work);
  work.kernels.attend(queries.block, queries.spans, queries.output);
}

/// Whether one token's attention keeps threads waiting if each KV head is one task.
bool wants_split(const Workspace& work) {
  const kernels::SplitAttention* split = work.kernels.split_attention;
  const int64_t heads = work.config.num_key_value_heads, threads = work.executor.concurrency();
  return split != nullptr && work.config.heads_per_group() <= split->lanes && heads % threads != 0 &&
         heads < kManyHeads * threads;
}

/// One token's attention, each KV head's shared by the threads.
void attend_split(TokenRun piece, const std::vector<HeadCache>& cache, Workspace& work) {
  const kernels::SplitAttention& split = *work.kernels.split_attention;
  const int64_t threads = work.executor.concurrency(), step_logits = split.step_keys * split.lanes;
  std::vector<HeadQueries> heads;
  std::vector<int64_t> first_step = {0};
  int64_t most_steps = 1;
  for (size_t head = 0; head < cache.size(); ++head) {
    heads.emplace_back(piece, static_cast<int64_t>(head), 0, 1, cache[head], work);
    const int64_t steps = split.steps(heads.back().spans);
    first_step.push_back(first_step.back() + steps);
    most_steps = std::max(most_steps, steps);
  }
  grow(work.logits, first_step.back() * step_logits);

  const int64_t run = ceil_div(most_steps, threads), runs = ceil_div(most_steps, run);
  work.executor.for_each(std::ssize(heads) * runs, [&](int64_t task) {
    const auto head = static_cast<size_t>(task / runs);
    const int64_t begin = task % runs * run;
    split.logits(heads[head].block, heads[head].spans, begin, begin + run, work.logits.data() + first_step[head] * step_logits);
  });
  const int64_t head_dim = work.config.head_dim;
  const int64_t slice = round_up(ceil_div(head_dim, threads), kernels::kSplitElements);
  const int64_t slices = ceil_div(head_dim, slice);
  work.executor.for_each(std::ssize(heads) * slices, [&](int64_t task) {
    const auto head = static_cast<size_t>(task / slices);
    const int64_t begin = task % slices * slice;
    split.values(heads[head].block, heads[head].spans, work.logits.data() + first_step[head] * step_logits, begin,
                 std::min(begin + slice, head_dim), heads[head].output);
  });
}

/// Where keys are few, threads are not worth waking.
void attend_token(TokenRun piece, const LayerWeights& weights, std::vector<HeadCache>& cache, Workspace& work) {
  const int64_t heads = work.config.num_key_value_heads;
  const auto store = [&](int64_t head) {
    rotate_and_store(piece, head, weights, cache[static_cast<size_t>(head)], work);
  };
  const auto store_and_attend = [&](int64_t head) {
    store(head);
    attend_block(piece, head, 0, 1, cache[static_cast<size_t>(head)], work);
  };
  SerialExecutor alone;
  if ((piece.first + 1) * work.config.key_value_size() <= kFewKeyElements) {
    alone.for_each(heads, store_and_attend);
  } else if (wants_split(work)) {
    alone.for_each(heads, store);
    attend_split(piece, cache, work);
  } else {
    work.executor.for_each(heads, store_and_attend);
  }
}

/// Of tokens that all lie within one chunk where the layer is a ring.
void attend_tokens(TokenRun piece, const LayerWeights& weights, std::vector<HeadCache>& cache, Workspace& work) {
  const int64_t heads = work.config.num_key_value_heads;
  work.executor.for_each(heads, [&](int64_t head) {
    rotate_and_store(piece, head, weights, cache[static_cast<size_t>(head)], work);
  });
  const std::vector<QueryRun> runs = cut_queries(piece, work.config.ring);
  work.executor.for_each(heads * std::ssize(runs), [&](int64_t task) {
    const int64_t head = task % heads;
    const auto& [begin, end] = runs[static_cast<size_t>(task / heads)];
    attend_block(piece, head, begin, end - begin, cache[static_cast<size_t>(head)], work);
  });
}

}  // namespace

void attend(TokenRun piece, const LayerWeights& weights, std::vector<HeadCache>& cache, Workspace& work) {
  const bool ring = weights.attention == AttentionKind::kRing;
  const int64_t stride = ring ? work.config.ring.stride : piece.first + piece.tokens;
  for (int64_t t = 0; t < piece.tokens;) {
    const int64_t count = std::min(stride - (piece.first + t) % stride, piece.tokens - t);
    (count == 1 ? attend_token : attend_tokens)({piece.first + t, count, piece.row + t}, weights, cache, work);
    for (HeadCache& head : cache) head.finish_queries();
    t += count;
  }
}

}  // namespace ringflash
