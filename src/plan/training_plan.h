// What training a model takes: bytes by kind, the most at once, and operations; and with which settings it fits a
// memory. Formulas: docs/plan.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/counts.h"
#include "plan/recompute_plan.h"
#include "plan/training_setup.h"

namespace ringflash {

struct TrainingPlan {
  TrainingSetup setup;
  ParameterCounts parameters;
  std::vector<Recompute> levels;  ///< of each layer

  // Bytes of one process.
  int64_t weights = 0, moments = 0, masks = 0, gradients = 0;
  int64_t activations = 0;       ///< kept from forward to backward
  int64_t step = 0;              ///< the most that a step's tensors take, gradients and activations among them: at `phase`
  std::string phase;
  int64_t libraries = 0;         ///< the program itself: code, tables, what libtorch keeps
  int64_t scratch = 0;           ///< our kernels' own buffers
  int64_t cache = 0;             ///< the runtime's, of one sequence: not part of the peak
  int64_t peak() const { return weights + moments + masks + step + libraries + scratch; }

  // Multiply-accumulates of one step of all processes: as trained, and for what is computed again.
  double macs = 0, macs_again = 0;
};

/// Without a budget everything is kept.
TrainingPlan plan_training(const TrainingSetup& setup, const std::optional<ActivationBudget>& budget);

/// Of one parameter's two moments with `optimizer_bits`.
int64_t moment_bytes(const std::string& name, int64_t dimensions, int64_t numbers, int64_t optimizer_bits);

/// Whether a parameter's moments may be kept in 8 bits: matrices of some size, embedding and head excepted, whose rows
/// learn at their own pace.
bool may_have_coded_moments(const std::string& name, int64_t dimensions, int64_t numbers);

}  // namespace ringflash
