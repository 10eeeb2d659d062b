#include "plan/recompute_plan.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/rng.h"

namespace ringflash {
namespace {

LayerCosts costs(std::array<int64_t, 5> bytes, std::array<double, 5> seconds) {
  LayerCosts all;
  for (size_t i = 0; i < all.size(); ++i) all[i] = {bytes[i], seconds[i]};
  return all;
}

TEST(PlanRecomputation, KeepsEverythingWhereItFits) {
  const std::vector<LayerCosts> layers(3, costs({100, 70, 50, 20, 10}, {1, 1.1, 1.2, 1.25, 1.4}));
  const RecomputePlan plan = plan_recomputation(layers, {.bytes = 300, .share = 1});
  EXPECT_EQ(plan.levels, std::vector(3, Recompute::kNothing));
  EXPECT_EQ(plan.bytes, 300);
  EXPECT_DOUBLE_EQ(plan.seconds, 3);
}

/// The least time over all combinations that keep within the budget.
double best_by_trial(const std::vector<LayerCosts>& layers, int64_t budget) {
  double best = std::numeric_limits<double>::infinity();
  int combinations = 1;
  for (size_t l = 0; l < layers.size(); ++l) combinations *= kRecomputeLevels;
  for (int c = 0; c < combinations; ++c) {
    int64_t bytes = 0, again = 0;
    double seconds = 0;
    int left = c;
    for (size_t l = 0; l < layers.size(); ++l, left /= kRecomputeLevels) {
      const RecomputeCost& chosen = layers[l][static_cast<size_t>(left % kRecomputeLevels)];
      bytes += chosen.bytes;
      seconds += chosen.seconds;
      again = std::max(again, layers[l][0].bytes - chosen.bytes);
    }
    if (bytes + again <= budget) best = std::min(best, seconds);
  }
  return best;
}

TEST(PlanRecomputation, IsAsGoodAsTryingAll) {
  Rng rng(3);
  int planned = 0;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<LayerCosts> layers;
    int64_t everything = 0;
    for (int l = 0; l < 5; ++l) {
      const auto size = static_cast<int64_t>(1000 + rng.below(1000)) * 1000;
      everything += size;
      layers.push_back(costs({size, size * 7 / 10, size / 2, size / 5, size / 10},
                             {1, 1.02, 1.1 + 0.1 * rng.uniform(), 1.25, 1.3 + 0.1 * rng.uniform()}));
    }
    const int64_t budget = everything * static_cast<int64_t>(20 + rng.below(80)) / 100;
    const RecomputePlan plan = plan_recomputation(layers, {.bytes = budget, .share = 1});
    const double best = best_by_trial(layers, budget);
    if (plan.fits) {
      EXPECT_LT(best, 100);
    }
    if (best > 100 || best_by_trial(layers, budget * 995 / 1000 - 5) > 100) continue;
    ASSERT_TRUE(plan.fits);
    ++planned;
    EXPECT_LE(plan.bytes, budget);
    EXPECT_GE(plan.seconds, best - 1e-9);
    // Sizes are rounded up to thousandths of the budget, 5 of them: that may be one layer's next level.
    EXPECT_LE(plan.seconds, best_by_trial(layers, budget * 995 / 1000 - 5) + 1e-9);
  }
  EXPECT_GT(planned, 100);
}

TEST(PlanRecomputation, SaysWhereNothingHelps) {
  const std::vector<LayerCosts> layers(4, costs({100, 70, 50, 20, 10}, {1, 1.1, 1.2, 1.25, 1.4}));
  const RecomputePlan plan = plan_recomputation(layers, {.bytes = 20, .share = 1});
  EXPECT_FALSE(plan.fits);
  EXPECT_EQ(plan.levels, std::vector(4, Recompute::kLayer));
  EXPECT_EQ(plan.bytes, 40 + 90);
  EXPECT_NE(describe(plan, layers).find("again: the whole layer"), std::string::npos);
}

TEST(ActivationBudget, ReadsBytesAndShares) {
  EXPECT_EQ(parse_activation_budget("800")->of(5), 800);
  EXPECT_EQ(parse_activation_budget("1.5K")->of(5), 1536);
  EXPECT_EQ(parse_activation_budget("3G")->of(5), int64_t{3} << 30);
  EXPECT_EQ(parse_activation_budget("40%")->of(1000), 400);
  for (const char* wrong : {"", "G", "-1", "0", "nan", "101%", "3X", "3GB", "1e30T", "40 %"}) {
    const auto budget = parse_activation_budget(wrong);
    ASSERT_FALSE(budget) << wrong;
    EXPECT_NE(budget.error().message.find("percentage"), std::string::npos);
  }
}

}  // namespace
}  // namespace ringflash
