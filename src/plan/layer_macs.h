// Multiply-accumulates of one layer over one micro-batch.
#pragma once

#include <map>

#include "plan/recompute_plan.h"
#include "plan/training_setup.h"

namespace ringflash {

class LayerMacs {
 public:
  /// `setup` must outlive this.
  explicit LayerMacs(const TrainingSetup& setup);

  double forward(int64_t layer) const;
  /// What a level does again.
  double again(int64_t layer, Recompute level) const;

 private:
  double products(int64_t layer, bool mlp_input_alone) const;

  const TrainingSetup& setup_;
  std::map<AttentionKind, double> attention_;
};

}  // namespace ringflash
