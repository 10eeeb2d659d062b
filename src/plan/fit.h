// Which settings make training fit a memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/training_plan.h"

namespace ringflash {

/// Plans are up to 7.7 % below what runs take (docs/benchmarks.md): so much of the memory stays free.
constexpr double kSpareMemory = 0.08;

/// What of `memory` bytes a plan may take.
inline int64_t usable_memory(int64_t memory) { return memory - static_cast<int64_t>(kSpareMemory * static_cast<double>(memory)); }

/// One thing that was tried: the settings so far, and the best plan with them.
struct FitAttempt {
  std::string change;  ///< from the attempt before it
  TrainingPlan plan;
  int budget = 100;  ///< of train's --activation-budget, in percent
  bool fits = false;
};

struct Fit {
  std::vector<FitAttempt> attempts;  ///< in order; the last one fits if any does
  bool fits = false;
  int64_t layers_that_fit = 0;  ///< with the last attempt's settings, where not all do; 0: none
  int64_t parameters_that_fit = 0;

  const TrainingPlan& plan() const { return attempts.back().plan; }
};

/// Tries, from what costs least: the setup as it is; recomputation of as little as will do; moments in 8 bits; batches of
/// one row, with as much more accumulation; products in 16 bits. Stops at the first that fits what is usable of `memory`
/// bytes. Only the CPU's training can recompute.
Fit fit_memory(const TrainingSetup& setup, int64_t memory);

}  // namespace ringflash
