#include "plan/layer_memory.h"

#include <algorithm>
#include <cmath>

#include "base/ceil_div.h"
#include "base/check.h"
#include "kernels/kernels.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

/// Below this share of active tiles the trainer computes them alone (train/sparsifier.cc).
constexpr double kSparseEnough = 0.4;

// How kernels/ring_attention_backward.cc cuts a document.
constexpr int64_t kLeastSegmentTokens = 1024;
constexpr int64_t kMostSegments = 8;

WeightMemory weight_memory(const TrainingSetup& setup, const Product& product) {
  const auto& [kind, pattern, out, in, rank, owned] = product;
  const SparsityConfig& sparsity = setup.model.sparsity;
  const double share = static_cast<double>(sparsity.keep) / kSparseGroup;
  WeightMemory weight;
  const int64_t numbers = out * in;
  weight.numbers = owned ? numbers : 0;
  weight.paired = rank > 0;
  const bool tiled = pattern == SparsePattern::kBlock && share < kSparseEnough && !setup.begins_dense && setup.on_cpu;
  weight.packed = tiled && rank == 0 && setup.compute_bytes == setup.packed_bytes && out % kBlockRows == 0 &&
                  in % kBlockRows == 0;
  if (weight.packed) {
    // The form for backward holds both halves of a pair of rows of tiles wherever either is active.
    const double either = 1 - (1 - share) * (1 - share);
    weight.seen = std::llround(either * static_cast<double>(numbers)) * setup.compute_bytes;
    weight.seeing = std::llround(share * static_cast<double>(numbers)) * setup.compute_bytes;
    weight.scratch = std::llround(share * static_cast<double>(numbers)) * kFloat;  // the active tiles' gradients
  } else {
    const bool masked = pattern != SparsePattern::kNone, quantised = masked && sparsity.weight_bits < 16;
    if (masked || setup.compute_bytes < kFloat) weight.seen = numbers * setup.compute_bytes;
    if (masked && !setup.on_cpu) weight.seeing = (quantised ? 2 : 1) * numbers * kFloat;  // the CPU takes some rows at a time
  }
  weight.seen += rank * (setup.tokens() + out + in) * setup.compute_bytes;
  return weight;
}

WeightMemory& weights_of(ProductKind kind, LayerMemory& memory) {
  switch (kind) {
    case ProductKind::kQkv:
      return memory.qkv;
    case ProductKind::kO:
      return memory.o;
    case ProductKind::kGateUp:
      return memory.gate_up;
    case ProductKind::kDown:
      return memory.down;
  }
  RF_UNREACHABLE();
}

/// What a document's pages and sinks are in number.
int64_t global_keys(const ModelConfig& model, int64_t tokens) {
  const RingGeometry& ring = model.ring;
  const int64_t pages = std::max<int64_t>(0, ring.chunk(tokens - 1) - ring.band_chunks());
  return pages > 0 ? ring.sink_tokens + pages * ring.page_tokens() : 0;
}

/// Keys whose gradients one segment of queries, or all of a document's, holds for itself.
int64_t segment_keys(const ModelConfig& model, AttentionKind kind, int64_t begin, int64_t end, int64_t tokens) {
  switch (kind) {
    case AttentionKind::kFull:
      return end;
    case AttentionKind::kSliding:
      return end - std::max<int64_t>(0, begin - model.sliding_window);
    case AttentionKind::kRing: {
      const int64_t behind = std::max<int64_t>(0, model.ring.chunk(begin) - model.ring.band_chunks());
      return end - behind * model.ring.stride + global_keys(model, tokens);
    }
  }
  RF_UNREACHABLE();
}

/// Over all segments of one document's queries from `first` on, for one head, and the sum of them.
int64_t gradient_keys(const ModelConfig& model, AttentionKind kind, int64_t first, int64_t tokens) {
  const int64_t length = std::max(kLeastSegmentTokens, ceil_div(tokens - first, kMostSegments));
  int64_t keys = segment_keys(model, kind, 0, tokens, tokens);
  for (int64_t begin = first; begin < tokens; begin += length) {
    keys += segment_keys(model, kind, begin, std::min(begin + length, tokens), tokens);
  }
  return keys;
}

/// Documents are taken to fill rows: shorter ones take less.
void add_kernel_memory(const TrainingSetup& setup, AttentionKind kind, LayerMemory& layer) {
  const ModelConfig& model = setup.model;
  const int64_t heads = setup.batch * model.num_key_value_heads, padded = kernels::padded_dim(model.head_dim);
  const int64_t globals = kind == AttentionKind::kRing ? global_keys(model, setup.sequence) : 0;
  const int64_t keys = heads * (round_up(setup.sequence, kernels::kBlockKeys) + globals);
  const int64_t packed = 2 * keys * padded * setup.packed_bytes;  // keys and values
  const int64_t query = setup.tokens() * model.query_size() * kFloat;
  const int64_t key_value = setup.sequence * setup.batch * model.key_value_size() * 2 * kFloat;
  const bool copies = setup.compute_bytes < kFloat;
  layer.attention_forward = copies ? 2 * query + key_value : 0;
  const int64_t first_query = setup.sequence - setup.sequence / setup.slices;
  const int64_t gradients = 2 * heads * padded * kFloat * gradient_keys(model, kind, first_query, setup.sequence);
  // fp32: q, k, v, output and its gradient; dq, dk, dv and the router's.
  layer.attention_backward = (copies ? 3 * query + key_value : 0) + query + key_value + layer.router;
  layer.scratch = 2 * packed + gradients;  // keys in both orders
  if (setup.slices > 1) {  // the gathered keys on their way, and their gradients
    layer.attention_forward += key_value;
    layer.attention_backward = std::max(layer.attention_backward, query + 3 * key_value);
  }
}

/// A matrix [heads, sequence, sequence] a document: what softmax and the choices of logits keep, and what is made on the way.
void add_composed_memory(const TrainingSetup& setup, LayerMemory& layer) {
  const ModelConfig& model = setup.model;
  const int64_t square = setup.sequence * setup.sequence;
  const int64_t logits = model.num_attention_heads * square * setup.compute_bytes;
  layer.logits = setup.batch * (logits + (model.num_key_value_heads + 1) * square);
  layer.attention_forward = 4 * logits;
  layer.attention_backward = 3 * logits;
}

}  // namespace

std::vector<Product> layer_products(const ModelConfig& model, int64_t layer) {
  const auto product = [&](ProductKind kind, const char* name, int64_t out, int64_t in) {
    const LinearTensors tensors = linear_tensors(model, layer, name);
    return Product{.kind = kind,
                   .pattern = model.sparsity.pattern_of(tensors.weight),
                   .out = out,
                   .in = in,
                   .rank = tensors.delta_a.empty() ? 0 : model.sharing.rank,
                   .owned = model.sharing.owner(layer, name) == layer};
  };
  const int64_t hidden = model.hidden_size, inner = model.intermediate_size, keys = model.key_value_size();
  return {product(ProductKind::kQkv, "q_proj", model.query_size(), hidden),
          product(ProductKind::kQkv, "k_proj", keys, hidden),
          product(ProductKind::kQkv, "v_proj", keys, hidden),
          product(ProductKind::kO, "o_proj", hidden, model.query_size()),
          product(ProductKind::kGateUp, "gate_proj", inner, hidden),
          product(ProductKind::kGateUp, "up_proj", inner, hidden),
          product(ProductKind::kDown, "down_proj", hidden, inner)};
}

WeightMemory& WeightMemory::operator+=(const WeightMemory& other) {
  numbers += other.numbers;
  seen += other.seen;
  seeing = std::max(seeing, other.seeing);
  scratch = std::max(scratch, other.scratch);
  packed = packed || other.packed;
  paired = paired || other.paired;
  return *this;
}

int64_t LayerMemory::attention_kept() const {
  return stream + post_normed + compute + qkv.seen + heads_in + router + logits + heads_out + heads_packed + lse +
         o.seen;
}

int64_t LayerMemory::attention_kept_cheaply() const {
  return attention_kept() - (qkv.packed ? 0 : compute);
}

int64_t LayerMemory::mlp_kept() const {
  return stream + post_normed + compute + gate_up.seen + gates + inner + down.seen;
}

int64_t LayerMemory::kept(Recompute level) const {
  switch (level) {
    case Recompute::kNothing:
      return attention_kept() + mlp_kept();
    case Recompute::kCheap:
      return attention_kept_cheaply() + mlp_kept() - (gate_up.packed ? 0 : compute + inner);
    case Recompute::kMlp:
      return attention_kept_cheaply() + stream + post_normed + last_weight();
    case Recompute::kAllButAttention:
      return kept(Recompute::kLayer) + heads_out + lse;
    case Recompute::kLayer:
      return stream + last_weight();
  }
  RF_UNREACHABLE();
}

LayerMemory layer_memory(const TrainingSetup& setup, int64_t layer) {
  const ModelConfig& model = setup.model;
  const AttentionKind kind = model.attention[static_cast<size_t>(layer)];
  const int64_t tokens = setup.tokens(), of_products = setup.compute_bytes;
  LayerMemory memory;
  for (const Product& product : layer_products(model, layer)) {
    weights_of(product.kind, memory) += weight_memory(setup, product);
  }
  // Sharers of a row keep all of its keys, most of them zeros; the last one has the most.
  const int64_t keys = setup.sequence * setup.batch;
  const int64_t query = tokens * model.query_size(), key_value = keys * model.key_value_size();
  const bool rounded = of_products < kFloat, fused = rounded && setup.on_cpu && model.hidden_act == Activation::kSilu;
  memory.stream = tokens * model.hidden_size * kFloat;
  memory.compute = tokens * model.hidden_size * of_products;
  memory.heads_in = (query + 2 * key_value) * of_products + (model.qk_norm ? (query + key_value) * kFloat : 0);
  memory.router = model.has_router(layer) ? keys * model.num_key_value_heads * kFloat : 0;
  memory.heads_out = query * of_products;
  memory.heads_packed = memory.o.packed ? memory.heads_out : 0;
  memory.lse = tokens * model.num_attention_heads * kFloat;
  memory.inner = tokens * model.intermediate_size * of_products;
  memory.gates = (fused ? 2 : 3) * memory.inner;
  memory.post_normed = model.post_norms ? memory.stream : 0;
  setup.on_cpu ? add_kernel_memory(setup, kind, memory) : add_composed_memory(setup, memory);
  for (const WeightMemory* weight : {&memory.qkv, &memory.o, &memory.gate_up, &memory.down}) {
    memory.scratch = std::max(memory.scratch, weight->scratch);
  }
  return memory;
}

}  // namespace ringflash
