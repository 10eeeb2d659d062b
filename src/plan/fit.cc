#include "plan/fit.h"

#include <algorithm>

namespace ringflash {
namespace {

/// With all layers computed again.
TrainingPlan least_plan(const TrainingSetup& setup) { return plan_training(setup, ActivationBudget{.bytes = 1, .share = 1}); }

/// The plan that recomputes least and fits, found by halving the budget's range; the one that keeps least if none does.
TrainingPlan best_plan(const TrainingSetup& setup, int64_t memory) {
  TrainingPlan least = least_plan(setup);
  if (least.peak() > memory) return least;
  constexpr int kHalvings = 8;
  double fits = 0, too_much = 1;
  for (int i = 0; i < kHalvings; ++i) {
    const double share = (fits + too_much) / 2;
    TrainingPlan plan = plan_training(setup, ActivationBudget{.bytes = {}, .share = share});
    (plan.peak() <= memory ? fits : too_much) = share;
    if (plan.peak() <= memory && plan.macs_again <= least.macs_again) least = std::move(plan);
  }
  return least;
}

TrainingSetup with_layers(TrainingSetup setup, int64_t layers) {
  setup.model.num_hidden_layers = layers;
  setup.model.attention.resize(static_cast<size_t>(layers));
  return setup;
}

/// Most layers, the last ones left out, with which the setup fits.
void find_layers_that_fit(Fit& fit, int64_t memory) {
  const TrainingSetup& setup = fit.plan().setup;
  int64_t fits = 0, too_many = setup.model.num_hidden_layers;
  while (too_many - fits > 1) {
    const int64_t layers = (fits + too_many) / 2;
    (least_plan(with_layers(setup, layers)).peak() <= memory ? fits : too_many) = layers;
  }
  fit.layers_that_fit = fits;
  if (fits > 0) fit.parameters_that_fit = count_parameters(with_layers(setup, fits).model).total();
}

}  // namespace

Fit fit_memory(const TrainingSetup& setup, int64_t memory) {
  Fit fit;
  const auto attempt = [&](const std::string& change, TrainingPlan plan) {
    const bool fits = plan.peak() <= memory;
    fit.attempts.push_back({change, std::move(plan), fits});
    return fit.fits = fits;
  };
  if (attempt("as asked for", plan_training(setup, {}))) return fit;
  if (attempt("activations computed again", best_plan(setup, memory))) return fit;
  TrainingSetup changed = setup;
  if (changed.optimizer_bits != 8) {
    changed.optimizer_bits = 8;
    if (attempt("optimizer_bits 8", best_plan(changed, memory))) return fit;
  }
  if (changed.batch > 1) {
    changed.accumulation *= changed.batch;
    changed.batch = 1;
    if (attempt("batch 1, accumulation " + std::to_string(changed.accumulation), best_plan(changed, memory))) return fit;
  }
  if (changed.compute_bytes > 2) {
    changed.compute_bytes = 2;
    if (attempt("precision bf16", best_plan(changed, memory))) return fit;
  }
  find_layers_that_fit(fit, memory);
  return fit;
}

}  // namespace ringflash
