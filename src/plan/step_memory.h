// The most memory that one training step has at once, found by going through it: forward, loss, backward, layer by
// layer, with what each takes and gives back (docs/plan.md).
#pragma once

#include <string>
#include <vector>

#include "plan/recompute_plan.h"
#include "plan/training_setup.h"

namespace ringflash {

struct StepMemory {
  int64_t activations = 0;  ///< kept from forward to backward, of all layers
  int64_t scratch = 0;      ///< our kernels' own buffers: on malloc's heap, where they stay
  int64_t peak = 0;         ///< gradients, activations and whatever other tensors there are besides weights, moments and masks
  std::string phase;        ///< when that is
};

/// `levels`: what each layer gives up.
StepMemory step_memory(const TrainingSetup& setup, const std::vector<Recompute>& levels);

/// What plan_recomputation() chooses from: bytes as above, and seconds in proportion to operations and bytes moved.
std::vector<LayerCosts> layer_costs(const TrainingSetup& setup);

}  // namespace ringflash
