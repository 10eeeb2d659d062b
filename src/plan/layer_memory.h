// What one decoder layer of the trainer keeps and takes, in bytes, by the formulas of docs/plan.md.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/recompute_plan.h"
#include "plan/training_setup.h"

namespace ringflash {

/// The products of a layer by what they read and write: those of one kind have the same input or the same output.
enum class ProductKind { kQkv, kO, kGateUp, kDown };

struct Product {
  ProductKind kind;
  SparsePattern pattern;
  int64_t out, in;
  int64_t rank = 0;   ///< of the pair beside a weight that layers share; 0 for none
  bool owned = true;  ///< whether the weight is this layer's own, or the first one's that shares it

  /// Multiply-accumulates a token.
  int64_t macs(int64_t keep) const { return active_weights(pattern, keep, out, in) + rank * (out + in); }
};
std::vector<Product> layer_products(const ModelConfig& model, int64_t layer);

/// The weights of products of one kind.
struct WeightMemory {
  int64_t numbers = 0;  ///< of the layer's own
  int64_t seen = 0;     ///< the copies that products multiply with: kept until backward, as is what pairs of shared weights make
  int64_t seeing = 0;   ///< while one of them is made
  int64_t scratch = 0;  ///< of the kernels
  bool packed = false;  ///< block-sparse, with packed inputs and outputs
  bool paired = false;  ///< with pairs beside shared weights

  WeightMemory& operator+=(const WeightMemory& other);
};

/// One layer over one micro-batch.
struct LayerMemory {
  WeightMemory qkv, o, gate_up, down;

  // Kept from forward to backward.
  int64_t stream = 0;        ///< the residual stream, fp32: the layer's input, or what attention adds to it
  int64_t post_normed = 0;   ///< what a norm after attention or the MLP takes, where there are such
  int64_t compute = 0;       ///< a norm's output in the precision of products
  int64_t heads_in = 0;      ///< q, k and v
  int64_t router = 0;        ///< its scores
  int64_t heads_out = 0;     ///< attention's output
  int64_t heads_packed = 0;  ///< the same again where a block-sparse product takes it
  int64_t lse = 0;
  int64_t gates = 0;  ///< gate and up, and what else their product keeps
  int64_t inner = 0;  ///< one [T, intermediate_size]
  int64_t logits = 0;  ///< whole matrices of attention logits, where our kernels do not run

  // Taken for a while.
  int64_t attention_forward = 0;
  int64_t attention_backward = 0;

  /// Of our kernels' own buffers, the most at once. They are on malloc's heap, which keeps what it had.
  int64_t scratch = 0;

  /// What recomputation keeps of the MLP's last product, which mostly need not run again.
  int64_t last_weight() const { return gate_up.packed || down.paired || post_normed > 0 ? 0 : down.seen; }
  int64_t attention_kept() const;
  int64_t attention_kept_cheaply() const;  ///< at the levels between nothing and all of the layer
  int64_t mlp_kept() const;
  /// Of everything that forward makes for backward, at a level of recomputation.
  int64_t kept(Recompute level) const;
};

LayerMemory layer_memory(const TrainingSetup& setup, int64_t layer);

}  // namespace ringflash
