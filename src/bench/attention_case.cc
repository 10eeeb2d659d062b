#include "bench/attention_case.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "base/rng.h"

namespace ringflash::bench {

std::string to_string(Variant variant) {
  switch (variant) {
    case Variant::kFull: return "full";
    case Variant::kRingAll: return "ring_all";
    case Variant::kRingTopPages: return "ring_top_pages";
  }
  RF_UNREACHABLE();
}

ModelConfig AttentionCase::config(Variant variant, int64_t tokens) const {
  ModelConfig config;
  config.vocab_size = config.intermediate_size = 16;
  config.hidden_size = heads * head_dim;
  config.num_hidden_layers = 1;
  config.num_attention_heads = heads;
  config.num_key_value_heads = key_value_heads;
  config.head_dim = head_dim;
  config.max_position_embeddings = tokens;
  config.ring = ring;
  config.ring.select = variant == Variant::kRingTopPages ? GlobalSelect::kTopPages : GlobalSelect::kAll;
  config.attention = {variant == Variant::kFull ? AttentionKind::kFull : AttentionKind::kRing};
  return config;
}

kernels::AttentionShape AttentionCase::shape(Variant variant, int64_t tokens) const {
  const ModelConfig model = config(variant, tokens);
  return {.tokens = tokens,
          .heads = heads,
          .key_value_heads = key_value_heads,
          .head_dim = head_dim,
          .rope = model.rope(model.attention.front()),
          .kind = model.attention.front(),
          .mode = model.attention_mode,
          .ring = model.ring};
}

Status validate(const AttentionCase& attention) {
  for (const Variant variant : kVariants) RF_TRY_VOID(validate(attention.config(variant, 1)));
  return {};
}

AttentionInputs::AttentionInputs(const AttentionCase& attention, int64_t tokens, uint64_t seed,
                                 Executor& executor) {
  const int64_t queries = tokens * attention.heads * attention.head_dim;
  const int64_t keys = tokens * attention.key_value_heads * attention.head_dim;
  const std::pair<AlignedVector<float>*, int64_t> parts[] = {
      {&q, queries}, {&dout, queries}, {&k, keys}, {&v, keys}, {&router, tokens * attention.key_value_heads}};
  for (const auto& [values, count] : parts) {
    values->resize(static_cast<size_t>(count));
    fill_normal(*values, ++seed << 32, executor);
  }
}

void fill_normal(AlignedVector<float>& values, uint64_t seed, Executor& executor) {
  constexpr int64_t kBlock = 1 << 16;
  const auto count = std::ssize(values);
  executor.for_each(ceil_div(count, kBlock), [&](int64_t block) {
    Rng rng(Rng(seed + static_cast<uint64_t>(block)).next());
    const auto first = values.begin() + block * kBlock;
    std::generate(first, first + std::min(kBlock, count - block * kBlock),
                  [&] { return static_cast<float>(rng.normal()); });
  });
}

}  // namespace ringflash::bench
