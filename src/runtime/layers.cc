#include "runtime/layers.h"

#include <algorithm>
#include <initializer_list>

#include "base/ceil_div.h"
#include "base/grow.h"
#include "runtime/attention.h"

namespace ringflash {
namespace {

// A task must outweigh what it costs to hand it to a thread.
constexpr int64_t kTaskElements = 8192;

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

Workspace::Workspace(const ModelConfig& model_config, Executor& threads)
    : config(model_config), kernels(kernels::table()), executor(threads) {}

void Workspace::cover_tokens(int64_t tokens) {
  for (AlignedVector<float>* each : {&hidden, &normed}) grow(*each, tokens * config.hidden_size);
  for (AlignedVector<float>* each : {&q, &q_rotated, &attended}) grow(*each, tokens * config.query_size());
  for (AlignedVector<float>* each : {&k, &k_rotated, &v}) grow(*each, tokens * config.key_value_size());
  for (AlignedVector<float>* each : {&gate, &up}) grow(*each, tokens * config.intermediate_size);
  grow(router, tokens * config.num_key_value_heads);
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

void embed(const Model& model, int32_t previous, std::span<const int32_t> ids, Workspace& work) {
  const auto width = static_cast<size_t>(work.config.hidden_size);
  const auto shift = static_cast<size_t>(work.config.embedding_shift);
  const auto multiplier = static_cast<float>(work.config.embedding_multiplier);
  const auto read = [&](int32_t id, std::span<float> row) {
    read_row(model.embedding(), id, row);
    for (float& x : row) x *= multiplier;
  };
  const auto row = [&](size_t t) { return std::span(work.hidden).subspan(t * width, width); };
  for (size_t t = 0; t < ids.size(); ++t) read(ids[t], row(t));
  if (shift == 0) return;
  for (size_t t = ids.size() - 1; t > 0; --t) std::ranges::copy(row(t - 1).last(shift), row(t).last(shift).begin());
  const std::span<float> before = std::span(work.normed).first(width);
  std::ranges::fill(before, 0.0f);
  if (previous != kNoToken) read(previous, before);
  std::ranges::copy(before.last(shift), row(0).last(shift).begin());
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
