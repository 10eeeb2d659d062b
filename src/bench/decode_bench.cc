#include "bench/decode_bench.h"

#include <algorithm>

#include "base/stopwatch.h"
#include "bench/attention_check.h"
#include "kernels/rope.h"

namespace ringflash::bench {
namespace {

// Caches in turn hold this much together, more than processors keep, unless that is too many layers.
constexpr int64_t kRotatedBytes = int64_t{256} << 20;
constexpr int64_t kMostLayers = 32;
constexpr double kSeconds = 0.02;  // of one measurement, at least

int64_t total_bytes(const std::vector<HeadCache>& cache) {
  int64_t bytes = 0;
  for (const HeadCache& head : cache) bytes += head.bytes();
  return bytes;
}

}  // namespace

DecodeBench::DecodeBench(const AttentionCase& attention, int64_t n, const AttentionInputs& inputs, Executor& executor)
    : attention_(attention),
      n_(n),
      inputs_(inputs),
      executor_(executor),
      run_begin_(attention.ring.run_begin(n - 1)),
      out_(static_cast<size_t>(attention.heads * attention.head_dim)) {
  const ModelConfig config = attention.config(Variant::kFull, n);
  const auto rope = kernels::shared_rope_table(n, config.head_dim, config.rope(AttentionKind::kFull));
  q_rotated_.resize(static_cast<size_t>((n - run_begin_) * config.query_size()));
  const float* q = inputs.q.data() + run_begin_ * config.query_size();
  for (int64_t i = 0; i < std::ssize(q_rotated_); i += config.head_dim) {
    kernels::rope_rotate(q + i, q_rotated_.data() + i, *rope, run_begin_ + i / config.query_size());
  }
  for (const Variant variant : kVariants) caches_.emplace(variant, fill(attention.config(variant, n)));
}

DecodeBench::LayerCache DecodeBench::fill(const ModelConfig& config) const {
  const kernels::KeyType type = kernels::table().key_type;
  LayerCache cache(static_cast<size_t>(config.num_key_value_heads),
                   HeadCache(config, config.attention.front(), n_, type));
  executor_.for_each(config.num_key_value_heads, [&](int64_t head) {
    for (int64_t first = 0; first < n_;) {  // the last run by itself, for choose_pages() wants all of an append
      const int64_t chunk_end = std::min(first + config.ring.stride, n_);
      const int64_t end = first < run_begin_ ? std::min(chunk_end, run_begin_) : chunk_end;
      append(config, head, first, end, cache[static_cast<size_t>(head)]);
      first = end;
    }
  });
  choose_pages(cache);
  return cache;
}

/// Positions [first, end) of one KV head.
void DecodeBench::append(const ModelConfig& config, int64_t head, int64_t first, int64_t end, HeadCache& cache) const {
  const int64_t width = config.key_value_size(), at = first * width + head * config.head_dim;
  const auto rope = kernels::shared_rope_table(n_, config.head_dim, config.rope(AttentionKind::kFull));
  AlignedVector<float> rotated(static_cast<size_t>((end - first) * width));
  for (int64_t i = 0; i < end - first; ++i) {
    kernels::rope_rotate(inputs_.k.data() + at + i * width, rotated.data() + i * width, *rope, first + i);
  }
  const float* router = inputs_.router.data() + first * config.num_key_value_heads + head;
  cache.append({.first = first,
                .count = end - first,
                .k = inputs_.k.data() + at,
                .k_rotated = rotated.data(),
                .v = inputs_.v.data() + at,
                .stride = width,
                .router = config.has_router(0) ? router : nullptr,
                .router_stride = config.num_key_value_heads});
}

void DecodeBench::choose_pages(LayerCache& cache) const {
  const int64_t row = attention_.heads * attention_.head_dim, width = row / attention_.key_value_heads;
  executor_.for_each(attention_.key_value_heads, [&](int64_t head) {
    cache[static_cast<size_t>(head)].choose_pages({.first = run_begin_,
                                                   .count = n_ - run_begin_,
                                                   .q = inputs_.q.data() + run_begin_ * row + head * width,
                                                   .q_rotated = q_rotated_.data() + head * width,
                                                   .token_stride = row,
                                                   .heads = attention_.heads / attention_.key_value_heads});
  });
}

void DecodeBench::attend(const LayerCache& cache) {
  const int64_t group = attention_.heads / attention_.key_value_heads, width = group * attention_.head_dim;
  const int64_t row = attention_.heads * attention_.head_dim;
  executor_.for_each(attention_.key_value_heads, [&](int64_t head) {
    std::vector<kernels::KeySpan> spans;
    cache[static_cast<size_t>(head)].visible(n_ - 1, spans);
    kernels::table().attend({.q = q_rotated_.data() + (n_ - 1 - run_begin_) * row + head * width,
                             .q_global = inputs_.q.data() + (n_ - 1) * row + head * width,
                             .tokens = 1,
                             .heads = group,
                             .head_dim = attention_.head_dim,
                             .token_stride = row,
                             .global_token_stride = row,
                             .head_stride = attention_.head_dim,
                             .scale = kernels::logit_scale(attention_.head_dim)},
                            spans,
                            {.out = out_.data() + head * width,
                             .token_stride = row,
                             .head_stride = attention_.head_dim,
                             .lse = nullptr,
                             .lse_token_stride = 0});
  });
}

Status DecodeBench::check(Variant variant) {
  attend(caches_.at(variant));
  return check_attention(attention_.shape(variant, n_), inputs_, {.first = n_ - 1, .out = out_, .dq = {}},
                         kernels::table(), executor_);
}

double DecodeBench::run(Variant variant) {
  const LayerCache& one = caches_.at(variant);
  const int64_t layers = std::min(kMostLayers, kRotatedBytes / std::max<int64_t>(total_bytes(one), 1) + 1);
  std::vector<LayerCache> caches(static_cast<size_t>(layers), one);
  for (const LayerCache& cache : caches) attend(cache);
  int64_t tokens = 0;
  const Stopwatch stopwatch;
  do {
    for (LayerCache& cache : caches) choose_pages(cache);
    for (int64_t i = 0; i < attention_.ring.top_pages_run; ++i) {
      for (const LayerCache& cache : caches) attend(cache);
    }
    tokens += attention_.ring.top_pages_run;
  } while (stopwatch.seconds() < kSeconds);
  return stopwatch.seconds() / static_cast<double>(tokens * layers);
}

int64_t DecodeBench::cache_bytes(Variant variant) const {
  return total_bytes(caches_.at(variant));
}

}  // namespace ringflash::bench
