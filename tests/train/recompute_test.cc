// Giving activations up changes no bit of any gradient.
#include <string>

#include "torch_support.h"
#include "train/masks.h"
#include "train/causal_lm.h"
#include "train/recompute_measure.h"

namespace ringflash {
namespace {

using testing::small_config;
using torch::Tensor;

constexpr int64_t kTokens = 90;

struct Gradients {
  double loss;
  std::vector<std::pair<std::string, Tensor>> all;
};

/// Of two micro-batches, one after the other.
Gradients gradients_of(CausalLm& model, torch::ScalarType compute) {
  model->zero_grad();
  const ModelConfig& config = model->config();
  const std::vector<int64_t> bounds = {0, 60, kTokens};
  Gradients result{0, {}};
  for (const int64_t factor : {7, 11}) {
    const Tensor ids = torch::arange(kTokens) * factor % config.vocab_size;
    const Tensor loss = model->loss_sum(ids, torch::roll(ids, -1), bounds, compute);
    loss.backward();
    result.loss += loss.item<double>();
  }
  for (const auto& item : model->named_parameters()) {
    EXPECT_TRUE(item.value().grad().defined()) << item.key();
    result.all.emplace_back(item.key(), item.value().grad().clone());
  }
  return result;
}

void expect_same_bits(CausalLm& model) {
  for (const torch::ScalarType compute : {torch::kFloat32, torch::kBFloat16}) {
    apply_levels(model, std::vector(model->layers().size(), Recompute::kNothing));
    const Gradients kept = gradients_of(model, compute);
    ASSERT_GT(kept.all.front().second.abs().max().item<double>(), 0);
    for (const Recompute level : {Recompute::kCheap, Recompute::kMlp, Recompute::kAllButAttention, Recompute::kLayer}) {
      apply_levels(model, std::vector(model->layers().size(), level));
      const Gradients again = gradients_of(model, compute);
      EXPECT_EQ(again.loss, kept.loss) << to_string(level);
      for (size_t i = 0; i < kept.all.size(); ++i) {
        EXPECT_TRUE(torch::equal(again.all[i].second, kept.all[i].second))
            << kept.all[i].first << ", " << to_string(level) << ", " << toString(compute);
      }
    }
  }
}

TEST(Recompute, GivesTheSameBits) {
  CausalLm model(small_config(), 3);
  expect_same_bits(model);
}

TEST(Recompute, GivesTheSameBitsInOtherArchitectures) {
  ModelConfig config = small_config();
  config.attention_bias = config.qk_norm = config.post_norms = true;
  config.hidden_act = Activation::kGeluTanh;
  config.attention.assign(config.attention.size(), AttentionKind::kFull);
  CausalLm model(config, 4);
  expect_same_bits(model);
}

TEST(Recompute, GivesTheSameBitsOfSharedLayers) {
  ModelConfig config = small_config();
  config.sharing = {.group_size = 2, .rank = 3};
  CausalLm model(config, 4);
  torch::NoGradGuard no_grad;
  for (auto& item : model->named_parameters()) {
    if (item.key().ends_with("delta_a")) item.value().fill_(0.1);
  }
  const torch::AutoGradMode enable(true);
  expect_same_bits(model);
}

TEST(Recompute, GivesTheSameBitsOfSparseLayers) {
  for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
    CausalLm model(small_config(), 5);
    uint64_t seed = 0;
    for (DecoderLayer& layer : model->layers()) {
      const Mlp& mlp = layer->mlp;
      for (Linear linear : {layer->self_attn->q_proj, mlp->gate_proj, mlp->up_proj, mlp->down_proj}) {
        linear->view().mask = random_mask(linear->weight, {pattern, 12}, ++seed);
        if (pattern == SparsePattern::kBlock) linear->view().tiles = block_tiles(linear->view().mask);
        if (pattern == SparsePattern::kFine) linear->view().bits = 4, linear->view().nonzeros = 12;
      }
    }
    expect_same_bits(model);
  }
}

TEST(MeasureRecomputation, KeepsLessAtEachLevelAndLeavesGradientsAlone) {
  CausalLm model(small_config(), 6);
  const Tensor ids = torch::arange(1024) * 7 % model->config().vocab_size;
  const std::vector<LayerCosts> costs = measure_recomputation(model, ids, {0, 1024}, torch::kFloat32);
  ASSERT_EQ(costs.size(), model->layers().size());
  for (const LayerCosts& layer : costs) {
    for (size_t level = 1; level < layer.size(); ++level) EXPECT_LT(layer[level].bytes, layer[level - 1].bytes) << level;
    for (const RecomputeCost& cost : layer) EXPECT_GT(cost.seconds, 0);
  }
  for (const auto& item : model->named_parameters()) EXPECT_FALSE(item.value().grad().defined()) << item.key();
  for (DecoderLayer& layer : model->layers()) EXPECT_EQ(layer->recompute, Recompute::kNothing);
}

}  // namespace
}  // namespace ringflash
