// Notices batches that would do harm before their step is taken.
#pragma once

#include <cstdint>
#include <string>

namespace ringflash {

/// Follows the loss with exponential averages of its mean and variance. All its state is these numbers: a checkpoint
/// holds them, so that a resumed run judges alike.
struct LossGuard {
  double mean = 0, variance = 0;
  int64_t seen = 0;       ///< good batches
  int64_t bad_in_row = 0;

  /// Takes one batch in. Empty if it is good, else what is wrong with it: a loss or gradient norm that is no finite
  /// number, or a loss more than `threshold` deviations above the mean (0: never; nor in the first kLearning batches).
  std::string judge(double loss, double grad_norm, double threshold);

  static constexpr int64_t kLearning = 100;
};

}  // namespace ringflash
