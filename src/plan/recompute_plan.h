// Which activations to give up: the least extra work that keeps within a budget, from what each layer was measured to
// keep and to cost.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// What a layer gives up of its activations, which backward computes again. Each level includes the ones before it; the
/// gradients are the same bits with all.
enum class Recompute {
  kNothing,
  kCheap,  ///< norms, casts and the gated product: a few passes over memory
  kMlp,    ///< the MLP's gate and up projections as well
  kAllButAttention,  ///< everything but the layer's input and what attention gives
  kLayer,            ///< everything but the layer's input
};
inline constexpr int kRecomputeLevels = 5;

std::string to_string(Recompute level);

/// Of one layer at one level.
struct RecomputeCost {
  int64_t bytes = 0;   ///< kept from forward to backward
  double seconds = 0;  ///< forward and backward
};

/// Of one layer at each level.
using LayerCosts = std::array<RecomputeCost, kRecomputeLevels>;

/// --activation-budget: bytes ("3G", "800M") or a share of what keeping everything takes ("40%").
struct ActivationBudget {
  std::optional<int64_t> bytes;
  double share = 1;

  int64_t of(int64_t everything) const;
};
/// "3G": a number above 0 and perhaps K, M, G or T, powers of 1024.
Result<int64_t> parse_bytes(std::string_view text);
Result<ActivationBudget> parse_activation_budget(std::string_view text);

struct RecomputePlan {
  std::vector<Recompute> levels;  ///< of each layer
  int64_t bytes = 0;              ///< most that is kept at once: of all layers, and of one while it runs again
  int64_t bytes_of_everything = 0;
  double seconds = 0, seconds_of_everything = 0;
  bool fits = true;  ///< else the levels are those that keep least
};

/// The plan of least time within the budget, exact but for the rounding of sizes to thousandths of it (dynamic
/// programming over layers; a knapsack with one choice of each layer). While a layer that was given up runs again it
/// takes what it would have kept.
RecomputePlan plan_recomputation(const std::vector<LayerCosts>& layers, const ActivationBudget& budget);

/// A line for each run of layers that are treated alike, and one of sums.
std::string describe(const RecomputePlan& plan, const std::vector<LayerCosts>& layers);

}  // namespace ringflash
