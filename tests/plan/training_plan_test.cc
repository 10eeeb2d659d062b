#include "plan/training_plan.h"

#include <gtest/gtest.h>

#include "model/presets.h"
#include "plan/fit.h"
#include "plan/layer_memory.h"
#include "plan/step_memory.h"

namespace ringflash {
namespace {

TrainingSetup nano() {
  TrainingSetup setup;
  setup.model = preset_config("nano").value();
  setup.batch = 4;
  return setup;
}

// hidden 256, intermediate 768, 4 heads of 64 and 2 for keys and values, 4096 tokens of products in bf16.
TEST(LayerMemory, CountsWhatTheFormulasSay) {
  const LayerMemory layer = layer_memory(nano(), 0);
  const int64_t tokens = 4096;
  EXPECT_EQ(layer.stream, tokens * 256 * 4);
  EXPECT_EQ(layer.compute, tokens * 256 * 2);
  EXPECT_EQ(layer.heads_in, tokens * ((256 + 2 * 128) * 2 + (256 + 128) * 4));  // q and k once more, for their norms
  EXPECT_EQ(layer.gates, tokens * 2 * 768 * 2);
  EXPECT_EQ(layer.router, tokens * 2 * 4);
  EXPECT_EQ(layer.lse, tokens * 4 * 4);
  EXPECT_EQ(layer.gate_up.numbers, 2 * 256 * 768);
  EXPECT_EQ(layer.gate_up.seen, 2 * 256 * 768 * 2);  // the bf16 copies
  EXPECT_EQ(layer.kept(Recompute::kLayer), layer.stream + 256 * 768 * 2);
  EXPECT_EQ(layer.kept(Recompute::kAllButAttention) - layer.kept(Recompute::kLayer), tokens * (256 * 2 + 4 * 4));
}

TEST(LayerMemory, KeepsLessAtEachLevel) {
  for (const SparsePattern pattern : {SparsePattern::kNone, SparsePattern::kFine, SparsePattern::kBlock}) {
    for (const int64_t compute : {2, 4}) {
      TrainingSetup setup = nano();
      setup.model.sparsity.pattern = pattern;
      setup.begins_dense = false;
      setup.compute_bytes = compute;
      const LayerMemory layer = layer_memory(setup, 0);
      for (int level = 1; level < kRecomputeLevels; ++level) {
        EXPECT_LE(layer.kept(static_cast<Recompute>(level)), layer.kept(static_cast<Recompute>(level - 1))) << level;
      }
    }
  }
}

// All that forward takes, backward gives back: two micro-batches peak where one does, but for the gradients that are
// there all along.
TEST(StepMemory, MicroBatchesAddGradientsAlone) {
  TrainingSetup setup = nano();
  const std::vector<Recompute> levels(setup.model.attention.size(), Recompute::kNothing);
  const StepMemory one = step_memory(setup, levels);
  setup.accumulation = 2;
  const StepMemory two = step_memory(setup, levels);
  const int64_t gradients = count_parameters(setup.model).total() * 4;
  EXPECT_EQ(two.activations, one.activations);
  EXPECT_GT(two.peak, one.peak);
  EXPECT_LE(two.peak, one.peak + gradients);
}

TEST(StepMemory, GrowsInProportionToTokens) {
  TrainingSetup setup = nano();
  const std::vector<Recompute> levels(setup.model.attention.size(), Recompute::kNothing);
  const int64_t four = step_memory(setup, levels).activations;
  setup.batch = 8;
  const int64_t eight = step_memory(setup, levels).activations;
  EXPECT_GT(eight, four * 19 / 10);  // all but the copies of weights
  EXPECT_LT(eight, four * 2);
}

TEST(PlanTraining, AddsUp) {
  TrainingSetup setup = nano();
  const TrainingPlan plan = plan_training(setup, {});
  EXPECT_EQ(plan.weights, 4 * plan.parameters.total());
  EXPECT_EQ(plan.moments, 8 * plan.parameters.total());
  EXPECT_EQ(plan.masks, 0);
  EXPECT_EQ(plan.macs_again, 0);
  EXPECT_DOUBLE_EQ(plan.macs, 3 * 4 * forward_macs(setup.model, 1024));
  EXPECT_EQ(setup.step_tokens(), 4096);
  EXPECT_GT(plan.step, plan.activations);
}

TEST(PlanTraining, SharersOfARowTakeLess) {
  TrainingSetup setup = nano();
  setup.batch = 1;
  setup.sequence = 16384;
  const TrainingPlan whole = plan_training(setup, {});
  setup.processes = setup.slices = 4;
  const TrainingPlan slice = plan_training(setup, {});
  EXPECT_EQ(setup.step_tokens(), 16384);
  EXPECT_DOUBLE_EQ(slice.macs, whole.macs);
  EXPECT_EQ(slice.weights, whole.weights);
  EXPECT_LT(slice.activations, whole.activations / 2);
  EXPECT_GT(slice.activations, whole.activations / 4);  // of keys and values there are all rows
}

TEST(PlanTraining, EightBitMomentsSpareEmbeddingAndNorms) {
  EXPECT_EQ(moment_bytes("model.layers.0.mlp.up_proj.weight", 2, 4096, 8), 2 * (4096 + 16 * 4));
  EXPECT_EQ(moment_bytes("model.layers.0.mlp.up_proj.weight", 2, 4095, 8), 8 * 4095);
  EXPECT_EQ(moment_bytes("model.embed_tokens.weight", 2, 8192, 8), 8 * 8192);
  EXPECT_EQ(moment_bytes("model.norm.weight", 1, 8192, 8), 8 * 8192);
  EXPECT_EQ(moment_bytes("model.layers.0.mlp.up_proj.weight", 2, 4096, 32), 8 * 4096);
}

TEST(PlanTraining, BudgetsTradeBytesForOperations) {
  const TrainingPlan all = plan_training(nano(), {}), part = plan_training(nano(), ActivationBudget{.bytes = {}, .share = 0.3});
  EXPECT_LE(part.activations, all.activations * 3 / 10);
  EXPECT_LT(part.peak(), all.peak());
  EXPECT_GT(part.macs_again, 0);
  EXPECT_EQ(part.macs, all.macs);
}

TEST(FitMemory, StopsAtTheFirstThatFits) {
  const TrainingPlan plan = plan_training(nano(), {});
  const auto enough = static_cast<int64_t>(static_cast<double>(plan.peak()) / (1 - kSpareMemory)) + 1;
  EXPECT_EQ(fit_memory(nano(), enough).attempts.size(), 1u);
  const Fit less = fit_memory(nano(), enough - 10);
  ASSERT_EQ(less.attempts.size(), 2u);
  EXPECT_TRUE(less.fits);
  EXPECT_LT(less.plan().peak(), plan.peak());
  EXPECT_EQ(less.plan().setup.optimizer_bits, 32);
}

// What is printed as --activation-budget gives the very plan that was said to fit.
TEST(FitMemory, NamesTheBudgetThatFits) {
  const int64_t memory = plan_training(nano(), {}).peak() * 8 / 10;
  const Fit fit = fit_memory(nano(), memory);
  ASSERT_TRUE(fit.fits);
  const int budget = fit.attempts.back().budget;
  EXPECT_GT(budget, 1);
  EXPECT_LT(budget, 100);
  const TrainingPlan same = plan_training(fit.plan().setup, ActivationBudget{.bytes = {}, .share = budget / 100.0});
  EXPECT_EQ(same.peak(), fit.plan().peak());
  EXPECT_EQ(same.levels, fit.plan().levels);
  EXPECT_LE(same.peak(), usable_memory(memory));
}

TEST(FitMemory, RecomputesNothingOnAGpu) {
  TrainingSetup setup = nano();
  setup.on_cpu = false;
  const Fit fit = fit_memory(setup, plan_training(setup, {}).peak() * 7 / 10);
  for (const FitAttempt& attempt : fit.attempts) {
    EXPECT_EQ(attempt.budget, 100);
    EXPECT_EQ(attempt.plan.macs_again, 0);
  }
}

TEST(FitMemory, SaysHowManyLayersFit) {
  TrainingSetup setup = nano();
  setup.model.num_hidden_layers = 60;
  setup.model.attention.assign(60, AttentionKind::kRing);
  const int64_t memory = int64_t{600} << 20;
  const Fit fit = fit_memory(setup, memory);
  EXPECT_FALSE(fit.fits);
  EXPECT_GT(fit.layers_that_fit, 10);
  EXPECT_LT(fit.layers_that_fit, 60);
  setup = fit.plan().setup;
  for (const int64_t more : {0, 1}) {
    setup.model.num_hidden_layers = fit.layers_that_fit + more;
    setup.model.attention.assign(static_cast<size_t>(setup.model.num_hidden_layers), AttentionKind::kRing);
    EXPECT_EQ(fit_memory(setup, memory).fits, more == 0);
  }
}

}  // namespace
}  // namespace ringflash
