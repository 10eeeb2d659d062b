#include "runtime/layers.h"

#include <algorithm>
#include <initializer_list>


namespace ringflash {
namespace {

// A task must outweigh what it costs to hand it to a thread.
constexpr int64_t kTaskElements = 8192;

// Queries of one attention task: enough to reuse the keys it reads, few enough to spread a piece over the
// threads.
constexpr int64_t kQueryTokens = 64;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

/// Calls body(first, count) for runs that cover [0, tokens), on all threads if the rows are work enough.
template <typename Body>
void for_token_runs(Executor& executor, int64_t tokens, int64_t width, const Body& body) {
  const int64_t run = std::max<int64_t>(1, kTaskElements / width);
  executor.for_each(ceil_div(tokens, run), [&](int64_t task) {
    const int64_t first = task * run;
    body(first, std::min(run, tokens - first));
  });
}

void add_to_hidden(Workspace& work, const float* x, int64_t tokens) {
  const int64_t width = work.config.hidden_size;
  for_token_runs(work.executor, tokens, width, [&](int64_t first, int64_t count) {
    work.kernels.add(x + first * width, work.hidden.data() + first * width, count * width);
  });
}

void norm_rows(const Workspace& work, const float* x, const float* gain, float* y, int64_t rows, int64_t width) {
  const auto eps = static_cast<float>(work.config.rms_norm_eps);
  for_token_runs(work.executor, rows, width, [&](int64_t first, int64_t count) {
    work.kernels.rms_norm(x + first * width, gain, y + first * width, count, width, eps);
  });
}

/// Adds the bias, if there is one, to each row of x [tokens, width], then norms each head's part, if they are normed.
void finish_projection(const Workspace& work, const float* bias, const float* gain, float* x, int64_t tokens,
                       int64_t width) {
  if (bias != nullptr) {
    for (int64_t t = 0; t < tokens; ++t) work.kernels.add(bias, x + t * width, width);
  }
  const int64_t head_dim = work.config.head_dim;
  if (gain != nullptr) norm_rows(work, x, gain, x, tokens * (width / head_dim), head_dim);
}

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

/// attended[t] for tokens [begin, begin + count) of the piece and one KV head's group.
void attend_block(TokenRun piece, int64_t head, int64_t begin, int64_t count, const HeadCache& cache,
                  Workspace& work) {
  const ModelConfig& c = work.config;
  const int64_t at = (piece.row + begin) * c.query_size() + head * c.heads_per_group() * c.head_dim;
  std::vector<kernels::KeySpan> spans;
  cache.visible(piece.first + begin, spans);
  work.kernels.attend({.q = work.q_rotated.data() + at,
                       .q_global = work.q.data() + at,
                       .tokens = count,
                       .heads = c.heads_per_group(),
                       .head_dim = c.head_dim,
                       .token_stride = c.query_size(),
                       .global_token_stride = c.query_size(),
                       .head_stride = c.head_dim,
                       .scale = kernels::logit_scale(c.head_dim)},
                      spans,
                      {.out = work.attended.data() + at,
                       .token_stride = c.query_size(),
                       .head_stride = c.head_dim,
                       .lse = nullptr,
                       .lse_token_stride = 0});
}

/// Of tokens that all lie within one chunk where the layer is a ring.
void attend_chunk(TokenRun piece, const LayerWeights& weights, std::vector<HeadCache>& cache, Workspace& work) {
  const int64_t heads = work.config.num_key_value_heads;
  work.executor.for_each(heads, [&](int64_t head) {
    rotate_and_store(piece, head, weights, cache[static_cast<size_t>(head)], work);
  });
  const std::vector<QueryRun> runs = cut_queries(piece, work.config.ring);
  work.executor.for_each(heads * std::ssize(runs), [&](int64_t task) {
    const int64_t head = task % heads;
    const QueryRun& run = runs[static_cast<size_t>(task / heads)];
    attend_block(piece, head, run.begin, run.end - run.begin, cache[static_cast<size_t>(head)], work);
  });
  for (HeadCache& head : cache) head.finish_queries();
}

void attend(TokenRun piece, const LayerWeights& weights, std::vector<HeadCache>& cache, Workspace& work) {
  const bool ring = weights.attention == AttentionKind::kRing;
  const int64_t stride = ring ? work.config.ring.stride : piece.first + piece.tokens;
  for (int64_t t = 0; t < piece.tokens;) {
    const int64_t count = std::min(stride - (piece.first + t) % stride, piece.tokens - t);
    attend_chunk({piece.first + t, count, piece.row + t}, weights, cache, work);
    t += count;
  }
}

auto gate_kernel(const Workspace& work) -> decltype(kernels::Table::swiglu) {
  switch (work.config.hidden_act) {
    case Activation::kSilu:
      return work.kernels.swiglu;
    case Activation::kGeluTanh:
      return work.kernels.geglu;
  }
  RF_UNREACHABLE();
}

}  // namespace

Workspace::Workspace(const ModelConfig& model_config, Executor& threads, int64_t max_tokens)
    : config(model_config), kernels(kernels::table()), executor(threads) {
  const auto sized = [&](int64_t width) {
    return AlignedVector<float>(static_cast<size_t>(max_tokens * width));
  };
  hidden = sized(config.hidden_size);
  normed = sized(config.hidden_size);
  q = sized(config.query_size());
  q_rotated = sized(config.query_size());
  k = sized(config.key_value_size());
  k_rotated = sized(config.key_value_size());
  v = sized(config.key_value_size());
  router = sized(config.num_key_value_heads);
  attended = sized(config.query_size());
  gate = sized(config.intermediate_size);
  up = sized(config.intermediate_size);
}

void Workspace::cover_positions(int64_t first, int64_t count) {
  rope = kernels::make_rope_table(first, count, config.head_dim, config.rope(AttentionKind::kFull));
  if (!config.has_layers(AttentionKind::kSliding)) return;
  sliding_rope = kernels::make_rope_table(first, count, config.head_dim, config.rope(AttentionKind::kSliding));
}

void matmul(Workspace& work, const WeightMatrix& w, const float* x, float* y, int64_t tokens) {
  const Projection projection{w, y};
  multiply(work.kernels, work.executor, {&projection, 1}, x, tokens, work.rounded);
}

void rms_norm(const Workspace& work, const float* x, const float* gain, float* y, int64_t tokens) {
  norm_rows(work, x, gain, y, tokens, work.config.hidden_size);
}

void embed(const Model& model, std::span<const int32_t> ids, Workspace& work) {
  const auto width = static_cast<size_t>(work.config.hidden_size);
  const auto multiplier = static_cast<float>(work.config.embedding_multiplier);
  for (size_t t = 0; t < ids.size(); ++t) {
    const std::span<float> row = std::span(work.hidden).subspan(t * width, width);
    read_row(model.embedding(), ids[t], row);
    for (float& x : row) x *= multiplier;
  }
}

void run_layer(const LayerWeights& weights, TokenRun piece, std::vector<HeadCache>& cache, Workspace& work) {
  const int64_t tokens = piece.tokens;
  const auto times = [&](std::initializer_list<LayerProjection> projections, const AlignedVector<float>& x) {
    multiply(work.kernels, work.executor, {projections.begin(), projections.size()}, x.data(), tokens, work.rounded,
             work.deltas);
  };
  const auto add_output = [&](const float* gain) {
    if (gain != nullptr) rms_norm(work, work.normed.data(), gain, work.normed.data(), tokens);
    add_to_hidden(work, work.normed.data(), tokens);
  };

  rms_norm(work, work.hidden.data(), weights.attention_norm, work.normed.data(), tokens);
  times({{weights.q_proj, work.q.data()}, {weights.k_proj, work.k.data()}, {weights.v_proj, work.v.data()}}, work.normed);
  finish_projection(work, weights.q_bias, weights.q_norm, work.q.data(), tokens, work.config.query_size());
  finish_projection(work, weights.k_bias, weights.k_norm, work.k.data(), tokens, work.config.key_value_size());
  finish_projection(work, weights.v_bias, nullptr, work.v.data(), tokens, work.config.key_value_size());
  if (weights.router.data != nullptr) matmul(work, weights.router, work.normed.data(), work.router.data(), tokens);
  attend(piece, weights, cache, work);
  times({{weights.o_proj, work.normed.data()}}, work.attended);
  add_output(weights.attention_output_norm);

  rms_norm(work, work.hidden.data(), weights.mlp_norm, work.normed.data(), tokens);
  times({{weights.gate_proj, work.gate.data()}, {weights.up_proj, work.up.data()}}, work.normed);
  const int64_t width = work.config.intermediate_size;
  const auto activate = gate_kernel(work);
  for_token_runs(work.executor, tokens, width, [&](int64_t first, int64_t count) {
    float* gate = work.gate.data() + first * width;
    activate(gate, work.up.data() + first * width, gate, count * width);
  });
  times({{weights.down_proj, work.normed.data()}}, work.gate);
  add_output(weights.mlp_output_norm);
}

}  // namespace ringflash
