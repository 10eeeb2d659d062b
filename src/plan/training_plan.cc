#include "plan/training_plan.h"

#include <algorithm>

#include "base/ceil_div.h"
#include "kernels/dynamic_map.h"
#include "model/tensors.h"
#include "plan/layer_macs.h"
#include "plan/step_memory.h"

namespace ringflash {
namespace {

/// Smaller tensors are not worth the rounding.
constexpr int64_t kLeastCoded = 4096;

/// What no formula knows: a process that trains the smallest of models, besides its tensors. Measured.
constexpr int64_t kLibraryBytes = 181'000'000;

/// A byte for each weight that may be absent, and of tiles lists of about 8 bytes for each active one.
int64_t mask_bytes(const ModelConfig& model) {
  const SparsityConfig& sparsity = model.sparsity;
  int64_t bytes = 0;
  for (const TensorSpec& spec : tensor_inventory(model)) {
    if (spec.role != TensorRole::kLinear) continue;
    const SparsePattern pattern = sparsity.pattern_of(spec.name);
    if (pattern != SparsePattern::kNone) bytes += spec.elements();
    if (pattern == SparsePattern::kBlock) {
      bytes += 8 * active_weights(pattern, sparsity.keep, spec.shape[0], spec.shape[1]) / (kBlockRows * kBlockColumns);
    }
  }
  return bytes;
}

}  // namespace

bool may_have_coded_moments(const std::string& name, int64_t dimensions, int64_t numbers) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  return dimensions >= 2 && numbers >= kLeastCoded && !has("embed_tokens") && !has("lm_head");
}

int64_t moment_bytes(const std::string& name, int64_t dimensions, int64_t numbers, int64_t optimizer_bits) {
  if (optimizer_bits != 8 || !may_have_coded_moments(name, dimensions, numbers)) return 2 * numbers * kFloat;
  const int64_t blocks = ceil_div(numbers, kernels::kMomentBlock);
  return 2 * (numbers + blocks * kFloat);
}

TrainingPlan plan_training(const TrainingSetup& setup, const std::optional<ActivationBudget>& budget) {
  TrainingPlan plan;
  plan.setup = setup;
  plan.parameters = count_parameters(setup.model);
  plan.levels.assign(setup.model.attention.size(), Recompute::kNothing);
  if (budget) plan.levels = plan_recomputation(layer_costs(setup), *budget).levels;
  plan.weights = plan.gradients = plan.parameters.total() * kFloat;
  for (const TensorSpec& spec : tensor_inventory(setup.model)) {
    plan.moments += moment_bytes(spec.name, std::ssize(spec.shape), spec.elements(), setup.optimizer_bits);
  }
  plan.masks = mask_bytes(setup.model);
  const StepMemory step = step_memory(setup, plan.levels);
  plan.activations = step.activations;
  plan.step = step.peak;
  plan.phase = step.phase;
  plan.libraries = kLibraryBytes;
  plan.scratch = step.scratch;
  plan.cache = cache_bytes(setup.model, setup.sequence, setup.packed_bytes);
  const auto micro_batches = static_cast<double>(setup.accumulation * setup.processes);
  const auto rows = static_cast<double>(setup.step_tokens() / setup.sequence);
  plan.macs = 3 * rows * forward_macs(setup.model, setup.sequence);
  const LayerMacs layers(setup);
  for (size_t l = 0; l < plan.levels.size(); ++l) {
    plan.macs_again += micro_batches * layers.again(static_cast<int64_t>(l), plan.levels[l]);
  }
  return plan;
}

}  // namespace ringflash
