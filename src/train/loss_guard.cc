#include "train/loss_guard.h"

#include <algorithm>
#include <cmath>

namespace ringflash {
namespace {

/// Of the averages: about the last fifty batches count.
constexpr double kMemory = 0.98;

}  // namespace

std::string LossGuard::judge(double loss, double grad_norm, double threshold) {
  if (!std::isfinite(loss) || !std::isfinite(grad_norm)) {
    ++bad_in_row;
    return "loss " + std::to_string(loss) + ", gradient norm " + std::to_string(grad_norm);
  }
  const double limit = mean + threshold * std::sqrt(variance);
  if (threshold > 0 && seen >= kLearning && loss > limit) {
    ++bad_in_row;
    return "a loss of " + std::to_string(loss) + " after " + std::to_string(mean) + " on average (at most " +
           std::to_string(limit) + " is taken)";
  }
  bad_in_row = 0;
  ++seen;
  // A plain mean to begin with, so that the first loss does not weigh on for long.
  const double memory = std::min(kMemory, 1.0 - 1.0 / static_cast<double>(seen));
  const double off = loss - mean;
  mean += (1 - memory) * off;
  variance = memory * (variance + (1 - memory) * off * off);
  return {};
}

}  // namespace ringflash
