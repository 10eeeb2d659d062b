// What the planner says of a model is what the trainer allocates.
#include "plan/training_plan.h"

#include "kernels/kernels.h"
#include "plan/layer_memory.h"
#include "torch_support.h"
#include "train/masks.h"
#include "train/causal_lm.h"
#include "train/optimizer.h"
#include "train/recompute_measure.h"

namespace ringflash {
namespace {

using testing::small_config;
using torch::Tensor;

/// Large enough that what is counted outweighs what libtorch keeps besides.
ModelConfig config() {
  ModelConfig model = small_config();
  model.hidden_size = 128;
  model.intermediate_size = 384;
  return model;
}

TrainingSetup setup_of(const ModelConfig& model, int64_t tokens, int64_t compute_bytes) {
  TrainingSetup setup;
  setup.model = model;
  setup.sequence = tokens;
  setup.compute_bytes = compute_bytes;
  setup.packed_bytes = kernels::table().key_type == kernels::KeyType::kBf16 ? 2 : 4;
  setup.begins_dense = false;
  return setup;
}

TEST(Plan, CountsParametersMomentsAndGradientsExactly) {
  for (const int64_t bits : {8, 32}) {
    CausalLm model(config(), 1);
    TrainConfig recipe;
    recipe.optimizer_bits = bits;
    std::vector<AdamW::Parameter> parameters;
    int64_t weights = 0;
    for (const auto& item : model->named_parameters()) {
      parameters.push_back({item.key(), item.value()});
      weights += static_cast<int64_t>(item.value().nbytes());
    }
    const AdamW optimizer(parameters, recipe);
    const Tensor ids = torch::arange(64) % model->config().vocab_size;
    model->loss_sum(ids, torch::roll(ids, -1), {0, 64}, torch::kFloat32).backward();
    int64_t gradients = 0;
    for (const auto& parameter : parameters) gradients += static_cast<int64_t>(parameter.value.grad().nbytes());

    TrainingSetup setup = setup_of(model->config(), 64, 4);
    setup.optimizer_bits = bits;
    const TrainingPlan plan = plan_training(setup, {});
    EXPECT_EQ(plan.weights, weights);
    EXPECT_EQ(plan.gradients, gradients);
    EXPECT_EQ(plan.moments, optimizer.state_bytes());
  }
}

/// Each layer's kept bytes at each level, as the allocator counts them. Within a twentieth: nodes of the graph and what
/// is rounded up are in none of the formulas.
void expect_as_measured(CausalLm& model, torch::ScalarType compute) {
  constexpr int64_t kTokens = 4096;
  const Tensor ids = torch::arange(kTokens) * 7 % model->config().vocab_size;
  const std::vector<LayerCosts> measured = measure_recomputation(model, ids, {0, kTokens}, compute);
  const TrainingSetup setup = setup_of(model->config(), kTokens, compute == torch::kBFloat16 ? 2 : 4);
  for (size_t l = 0; l < measured.size(); ++l) {
    const LayerMemory layer = layer_memory(setup, static_cast<int64_t>(l));
    for (size_t level = 0; level < kRecomputeLevels; ++level) {
      const auto bytes = static_cast<double>(measured[l][level].bytes);
      EXPECT_NEAR(static_cast<double>(layer.kept(static_cast<Recompute>(level))), bytes, 0.05 * bytes)
          << "layer " << l << ", " << to_string(static_cast<Recompute>(level)) << ", " << toString(compute);
    }
  }
}

TEST(Plan, KnowsWhatLayersKeep) {
  for (const torch::ScalarType compute : {torch::kFloat32, torch::kBFloat16}) {
    CausalLm model(config(), 2);
    expect_as_measured(model, compute);
  }
}

TEST(Plan, KnowsWhatLayersThatShareWeightsKeep) {
  ModelConfig shared = config();
  shared.sharing.group_size = 2;
  shared.sharing.rank = 8;
  CausalLm model(shared, 4);
  expect_as_measured(model, torch::kFloat32);
}

TEST(Plan, KnowsWhatSparseLayersKeep) {
  for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
    ModelConfig sparse = config();
    sparse.sparsity.pattern = pattern;
    CausalLm model(sparse, 3);
    uint64_t seed = 0;
    for (DecoderLayer& layer : model->layers()) {
      const Attention& attention = layer->self_attn;
      const Mlp& mlp = layer->mlp;
      for (Linear linear : {attention->q_proj, attention->k_proj, attention->v_proj, attention->o_proj, mlp->gate_proj,
                            mlp->up_proj, mlp->down_proj}) {
        linear->view().mask = random_mask(linear->weight, {pattern, sparse.sparsity.keep}, ++seed);
        if (pattern == SparsePattern::kBlock) linear->view().tiles = block_tiles(linear->view().mask);
      }
    }
    expect_as_measured(model, kernels::has_fast_bf16() ? torch::kBFloat16 : torch::kFloat32);
  }
}

}  // namespace
}  // namespace ringflash
