// Multiply-accumulates of one layer over one micro-batch.
#pragma once

#include <initializer_list>
#include <map>

#include "plan/layer_memory.h"
#include "plan/training_setup.h"

namespace ringflash {

class LayerMacs {
 public:
  /// `setup` must outlive this.
  explicit LayerMacs(const TrainingSetup& setup);

  double forward(int64_t layer) const;
  /// What a level does again. A layer's last product is not among it: where block-sparse layers and those with post_norms
  /// do it too, it is not counted.
  double again(int64_t layer, Recompute level) const;

 private:
  double products(int64_t layer, std::initializer_list<ProductKind> kinds) const;

  const TrainingSetup& setup_;
  std::map<AttentionKind, double> attention_;
};

}  // namespace ringflash
