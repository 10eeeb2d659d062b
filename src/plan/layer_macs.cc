#include "plan/layer_macs.h"

#include "base/check.h"
#include "model/counts.h"
#include "plan/layer_memory.h"

namespace ringflash {

LayerMacs::LayerMacs(const TrainingSetup& setup) : setup_(setup) {
  const ModelConfig& model = setup.model;
  for (const AttentionKind kind : {AttentionKind::kFull, AttentionKind::kRing, AttentionKind::kSliding}) {
    if (!model.has_layers(kind)) continue;
    const double pairs = static_cast<double>(setup.batch) * attention_pairs(model, kind, setup.sequence);
    attention_[kind] = 2 * pairs * static_cast<double>(model.query_size());
  }
}

double LayerMacs::products(int64_t layer, bool mlp_input_alone) const {
  int64_t active = 0;
  for (const Product& product : layer_products(setup_.model, layer)) {
    if (mlp_input_alone && product.kind != ProductKind::kGateUp) continue;
    active += active_weights(product.pattern, setup_.model.sparsity.keep, product.out, product.in);
  }
  return static_cast<double>(setup_.tokens()) * static_cast<double>(active);
}

double LayerMacs::forward(int64_t layer) const {
  return products(layer, false) + attention_.at(setup_.model.attention[static_cast<size_t>(layer)]);
}

double LayerMacs::again(int64_t layer, Recompute level) const {
  switch (level) {
    case Recompute::kNothing:
    case Recompute::kCheap:
      return 0;
    case Recompute::kMlp:
      return products(layer, true);
    case Recompute::kLayer:
      return forward(layer);
  }
  RF_UNREACHABLE();
}

}  // namespace ringflash
