#include "plan/layer_macs.h"

#include <algorithm>

#include "base/check.h"
#include "model/counts.h"

namespace ringflash {

LayerMacs::LayerMacs(const TrainingSetup& setup) : setup_(setup) {
  const ModelConfig& model = setup.model;
  for (const AttentionKind kind : {AttentionKind::kFull, AttentionKind::kRing, AttentionKind::kSliding}) {
    if (!model.has_layers(kind)) continue;
    const double rows = static_cast<double>(setup.batch) / static_cast<double>(setup.slices);
    const double pairs = rows * attention_pairs(model, kind, setup.sequence);
    attention_[kind] = 2 * pairs * static_cast<double>(model.query_size());
  }
}

double LayerMacs::products(int64_t layer, std::initializer_list<ProductKind> kinds) const {
  int64_t active = 0;
  for (const Product& product : layer_products(setup_.model, layer)) {
    if (std::ranges::find(kinds, product.kind) == kinds.end()) continue;
    active += product.macs(setup_.model.sparsity.keep);
  }
  return static_cast<double>(setup_.tokens()) * static_cast<double>(active);
}

double LayerMacs::forward(int64_t layer) const {
  return again(layer, Recompute::kLayer) + products(layer, {ProductKind::kDown});
}

double LayerMacs::again(int64_t layer, Recompute level) const {
  switch (level) {
    case Recompute::kNothing:
    case Recompute::kCheap:
      return 0;
    case Recompute::kMlp:
      return products(layer, {ProductKind::kGateUp});
    case Recompute::kAllButAttention:
      return products(layer, {ProductKind::kQkv, ProductKind::kO, ProductKind::kGateUp});
    case Recompute::kLayer:
      return again(layer, Recompute::kAllButAttention) + attention_.at(setup_.model.attention[static_cast<size_t>(layer)]);
  }
  RF_UNREACHABLE();
}

}  // namespace ringflash
