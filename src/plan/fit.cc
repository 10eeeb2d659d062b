#include "plan/fit.h"

#include <algorithm>

namespace ringflash {
namespace {

/// The plan with an activation budget of so many percent.
FitAttempt with_budget(const TrainingSetup& setup, int percent) {
  const bool keeps_all = percent == 100 || !setup.on_cpu;
  return {.change = "",
          .plan = keeps_all ? plan_training(setup, {})
                            : plan_training(setup, ActivationBudget{.bytes = {}, .share = percent / 100.0}),
          .budget = keeps_all ? 100 : percent};
}

/// With as much computed again as can be.
FitAttempt least(const TrainingSetup& setup) { return with_budget(setup, 1); }

/// The largest budget that fits, found by halving its range; the least one if none does.
FitAttempt best(const TrainingSetup& setup, int64_t memory) {
  FitAttempt best = least(setup);
  if (best.plan.peak() > memory || best.budget == 100) return best;
  int fits = 1, too_much = 100;
  while (too_much - fits > 1) {
    const int percent = (fits + too_much) / 2;
    FitAttempt attempt = with_budget(setup, percent);
    const bool is_within = attempt.plan.peak() <= memory;
    (is_within ? fits : too_much) = percent;
    if (is_within && attempt.plan.macs_again <= best.plan.macs_again) best = std::move(attempt);
  }
  return best;
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
    (least(with_layers(setup, layers)).plan.peak() <= memory ? fits : too_many) = layers;
  }
  fit.layers_that_fit = fits;
  if (fits > 0) fit.parameters_that_fit = count_parameters(with_layers(setup, fits).model).total();
}

}  // namespace

Fit fit_memory(const TrainingSetup& setup, int64_t whole_memory) {
  const int64_t memory = usable_memory(whole_memory);
  Fit fit;
  const auto attempt = [&](const std::string& change, FitAttempt tried) {
    tried.change = change;
    tried.fits = tried.plan.peak() <= memory;
    fit.attempts.push_back(std::move(tried));
    return fit.fits = fit.attempts.back().fits;
  };
  if (attempt("as asked for", with_budget(setup, 100))) return fit;
  if (setup.on_cpu && attempt("activations computed again", best(setup, memory))) return fit;
  TrainingSetup changed = setup;
  if (changed.optimizer_bits != 8) {
    changed.optimizer_bits = 8;
    if (attempt("optimizer_bits 8", best(changed, memory))) return fit;
  }
  if (changed.batch > 1) {
    changed.accumulation *= changed.batch;
    changed.batch = 1;
    if (attempt("batch 1, accumulation " + std::to_string(changed.accumulation), best(changed, memory))) return fit;
  }
  if (changed.compute_bytes > 2) {
    changed.compute_bytes = 2;
    if (attempt("precision bf16", best(changed, memory))) return fit;
  }
  find_layers_that_fit(fit, memory);
  return fit;
}

}  // namespace ringflash
