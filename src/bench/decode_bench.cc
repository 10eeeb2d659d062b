#include "bench/decode_bench.h"

#include <algorithm>
#include <cmath>

#include "base/stopwatch.h"
#include "bench/attention_check.h"
#include "kernels/rope.h"

namespace ringflash::bench {
namespace {

// Caches in turn hold this much together, more than processors keep, unless that is too many layers.
constexpr int64_t kRotatedBytes = int64_t{256} << 20;
constexpr int64_t kMostLayers = 32;
constexpr double kSeconds = 0.05;  // of one measurement, at least

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
      q_rotated_(static_cast<size_t>(attention.heads * attention.head_dim)),
      out_(q_rotated_.size()) {
  const ModelConfig config = attention.config(Variant::kFull, n);
  const auto rope = kernels::shared_rope_table(n, config.head_dim, config.rope_theta);
  const float* q = inputs.q.data() + (n - 1) * config.query_size();
  for (int64_t i = 0; i < config.query_size(); i += config.head_dim) {
    kernels::rope_rotate(q + i, q_rotated_.data() + i, *rope, n - 1);
  }
  for (const Variant variant : kVariants) caches_.emplace(variant, fill(attention.config(variant, n)));
}

DecodeBench::LayerCache DecodeBench::fill(const ModelConfig& config) const {
  const int64_t width = config.key_value_size(), piece = config.ring.stride;
  const auto rope = kernels::shared_rope_table(n_, config.head_dim, config.rope_theta);
  LayerCache cache(static_cast<size_t>(config.num_key_value_heads), HeadCache(config, config.attention.front(), n_, kernels::table().key_type));
  executor_.for_each(config.num_key_value_heads, [&](int64_t head) {
    std::vector<float> rotated(static_cast<size_t>(piece * width));
    for (int64_t first = 0; first < n_; first += piece) {
      const int64_t count = std::min(piece, n_ - first);
      const float* k = inputs_.k.data() + first * width + head * config.head_dim;
      for (int64_t i = 0; i < count; ++i) {
        kernels::rope_rotate(k + i * width, rotated.data() + i * width, *rope, first + i);
      }
      const float* router = inputs_.router.data() + first * config.num_key_value_heads + head;
      cache[static_cast<size_t>(head)].append({.first = first,
                                               .count = count,
                                               .k = k,
                                               .k_rotated = rotated.data(),
                                               .v = inputs_.v.data() + first * width + head * config.head_dim,
                                               .stride = width,
                                               .router = config.has_router(0) ? router : nullptr,
                                               .router_stride = config.num_key_value_heads});
    }
  });
  return cache;
}

void DecodeBench::attend(const LayerCache& cache) {
  const int64_t group = attention_.heads / attention_.key_value_heads, width = group * attention_.head_dim;
  const float* q = inputs_.q.data() + (n_ - 1) * attention_.heads * attention_.head_dim;
  executor_.for_each(attention_.key_value_heads, [&](int64_t head) {
    std::vector<kernels::KeySpan> spans;
    cache[static_cast<size_t>(head)].visible(n_ - 1, spans);
    kernels::table().attend({.q = q_rotated_.data() + head * width,
                             .q_global = q + head * width,
                             .tokens = 1,
                             .heads = group,
                             .head_dim = attention_.head_dim,
                             .token_stride = width,
                             .head_stride = attention_.head_dim,
                             .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(attention_.head_dim)))},
                            spans,
                            {.out = out_.data() + head * width,
                             .token_stride = width,
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
  const std::vector<LayerCache> caches(static_cast<size_t>(layers), one);
  for (const LayerCache& cache : caches) attend(cache);
  int64_t runs = 0;
  const Stopwatch stopwatch;
  do {
    for (const LayerCache& cache : caches) attend(cache);
    runs += layers;
  } while (stopwatch.seconds() < kSeconds);
  return stopwatch.seconds() / static_cast<double>(runs);
}

int64_t DecodeBench::cache_bytes(Variant variant) const {
  return total_bytes(caches_.at(variant));
}

}  // namespace ringflash::bench
