// The attention that is measured: its variants, their shapes and random inputs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/executor.h"
#include "kernels/ring_attention.h"
#include "model/config.h"

namespace ringflash::bench {

/// What is compared; kFull is the twin that the others are measured against.
enum class Variant { kFull, kRingAll, kRingTopPages };
inline constexpr Variant kVariants[] = {Variant::kFull, Variant::kRingAll, Variant::kRingTopPages};

/// "full", "ring_all", "ring_top_pages".
std::string to_string(Variant variant);

struct AttentionCase {
  int64_t heads = 8, key_value_heads = 2, head_dim = 64;
  RingGeometry ring;  ///< `select` is the variant's

  /// A model of one layer of this variant, as the caches and the counts want it.
  ModelConfig config(Variant variant, int64_t tokens) const;
  kernels::AttentionShape shape(Variant variant, int64_t tokens) const;
};

/// Whether the shape can be a model's; the error names what cannot.
Status validate(const AttentionCase& attention);

/// Independent standard normals everywhere, so that logits have unit variance.
struct AttentionInputs {
  /// The same numbers for any executor.
  AttentionInputs(const AttentionCase& attention, int64_t tokens, uint64_t seed, Executor& executor);

  AlignedVector<float> q, dout;  ///< [tokens, heads, head_dim]
  AlignedVector<float> k, v;     ///< [tokens, key_value_heads, head_dim]
  AlignedVector<float> router;   ///< [tokens, key_value_heads]
};

/// Fills `values` with standard normals.
void fill_normal(AlignedVector<float>& values, uint64_t seed, Executor& executor);

}  // namespace ringflash::bench
