#include "train/sparsifier.h"

#include "format/quantize_sparse.h"
#include "model/counts.h"
#include "model/presets.h"
#include "torch_support.h"
#include "train/checkpointing.h"

namespace ringflash {
namespace {

using torch::Tensor;

/// A recipe in which weights go between the first step and two fifths of the run.
TrainConfig gradual_recipe() {
  TrainConfig recipe;
  recipe.sparsity_begin_ratio = 0;
  recipe.sparsity_end_ratio = 0.4;
  return recipe;
}

TEST(MaskSchedule, FallsFromAllToTheRestAndThenRests) {
  TrainConfig recipe = gradual_recipe();
  recipe.max_steps = 1000;
  const MaskSchedule schedule(recipe);
  EXPECT_EQ(schedule.interval, 25);
  EXPECT_EQ(schedule.keep_at(0, 12), 64);
  EXPECT_EQ(schedule.keep_at(200, 12), 12 + 7);  // an eighth of 52, rounded
  EXPECT_EQ(schedule.keep_at(400, 12), 12);
  EXPECT_EQ(schedule.keep_at(1000, 12), 12);
  EXPECT_TRUE(schedule.due(25));
  EXPECT_FALSE(schedule.due(26));
  EXPECT_TRUE(schedule.due(800));
  EXPECT_FALSE(schedule.due(825));
  recipe.mask_interval = 300;
  EXPECT_TRUE(MaskSchedule(recipe).due(400)) << "the end of the fall must not be missed";
}

TEST(MaskSchedule, MayFallAtOnce) {
  TrainConfig recipe;
  recipe.max_steps = 1001;
  recipe.sparsity_begin_ratio = recipe.sparsity_end_ratio = 0.5;
  const MaskSchedule schedule(recipe);
  EXPECT_EQ(schedule.keep_at(500, 12), 64);
  EXPECT_FALSE(schedule.due(500));
  EXPECT_EQ(schedule.keep_at(501, 12), 12);
  EXPECT_TRUE(schedule.due(501));
}

/// A tiny sparse model and its optimiser, with gradients given at will.
struct Trained {
  explicit Trained(const std::string& method, SparsePattern pattern = SparsePattern::kFine, int64_t bits = 16) {
    recipe.max_steps = 10;
    recipe.mask_interval = 1;
    recipe.mask_method = method;
    recipe.l1 = 0;
    recipe.weight_decay = 0;
    ModelConfig config = preset_config("tiny").value();
    config.sparsity = {.pattern = pattern, .weight_bits = bits, .exceptions = {"k_proj=none"}};
    model = CausalLm(config, 1);
    optimizer.emplace(parameters_of(model), recipe);
    sparsifier.emplace(model, *optimizer, recipe, /*fresh=*/true);
  }
  std::optional<MaskMetrics> step(int64_t n) {
    for (auto& [name, value] : parameters_of(model)) {
      value.mutable_grad() = testing::random_tensor(value.sizes(), hash(name, n)).to(torch::kFloat32);
    }
    optimizer->step(0.01, 1.0);
    return sparsifier->after_step(n);
  }
  static uint64_t hash(const std::string& name, int64_t n) { return std::hash<std::string>()(name) + n; }

  TrainConfig recipe = gradual_recipe();
  CausalLm model{nullptr};
  std::optional<AdamW> optimizer;
  std::optional<Sparsifier> sparsifier;
};

TEST(Sparsifier, EndsWithAsManyWeightsAsTheConfigSays) {
  for (const char* method : {"magnitude", "rigl", "static"}) {
    for (const SparsePattern pattern : {SparsePattern::kFine, SparsePattern::kBlock}) {
      Trained trained(method, pattern);
      for (int64_t n = 1; n <= 10; ++n) trained.step(n);
      int64_t active = 0, exempt = 0;
      for (const auto& [name, value] : trained.sparsifier->tensors()) {
        if (value.scalar_type() == torch::kBool) active += value.sum().item<int64_t>();
      }
      for (const auto& [name, value] : parameters_of(trained.model)) {
        if (name.find("k_proj") != std::string::npos) exempt += value.numel();
      }
      EXPECT_EQ(active + exempt, count_parameters(trained.model->config()).active_linear) << method;
    }
  }
}

TEST(Sparsifier, SaysWhatMoved) {
  Trained trained("magnitude");
  const auto first = trained.step(1), last = trained.step(8);
  ASSERT_TRUE(first && last);
  EXPECT_EQ(first->regrown, 0);
  EXPECT_EQ(first->kept, first->weights - first->pruned);
  EXPECT_EQ(last->kept * 64, last->weights * 12);
  EXPECT_GT(last->kept_energy, 12.0 / 64);
  EXPECT_LT(last->kept_energy, 1);
  EXPECT_FALSE(trained.step(9)) << "the choice is final";
}

TEST(Sparsifier, AbsentWeightsMoveByTheScaledUpdateAndMayComeBack) {
  Trained trained("magnitude");
  for (int64_t n = 1; n <= 4; ++n) trained.step(n);
  Linear& linear = trained.model->layers().front()->self_attn->q_proj;
  const Tensor before = linear->weight.detach().clone(), mask = linear->view().mask;
  trained.step(5);
  const Tensor moved = (linear->weight.detach() - before).abs();
  const auto of = [&](const Tensor& where) { return moved.masked_select(where).mean().item<double>(); };
  EXPECT_NEAR(of(~mask) / of(mask), trained.recipe.pruned_update_scale / (64.0 / 12), 0.004);
  EXPECT_GT((linear->view().mask & ~mask).sum().item<int64_t>(), 0);
}

TEST(Sparsifier, RiglsAbsentWeightsAreZeroAndComeBackFromNothing) {
  Trained trained("rigl");
  Linear& linear = trained.model->layers().front()->mlp->gate_proj;
  const Tensor before = linear->view().mask;
  trained.step(1);
  const Tensor came = linear->view().mask & ~before;
  ASSERT_GT(came.sum().item<int64_t>(), 0);
  EXPECT_EQ(linear->weight.masked_select(~linear->view().mask | came).abs().max().item<float>(), 0);
  for (const auto& [name, value] : trained.optimizer->state()) {
    if (name.find("layers.0.mlp.gate_proj") == std::string::npos) continue;
    EXPECT_EQ(value.masked_select(came).abs().max().item<float>(), 0) << name;
  }
}

TEST(Sparsifier, QuantisedLayersMultiplyWithWhatTheFileWillHold) {
  for (const int64_t bits : {4, 8}) {
    Trained trained("magnitude", SparsePattern::kFine, bits);
    for (int64_t n = 1; n <= 6; ++n) trained.step(n);
    Linear& linear = trained.model->layers().front()->mlp->down_proj;
    const Tensor saved = (linear->weight * linear->view().mask).detach().contiguous();
    const SparseBits kind = bits == 4 ? SparseBits::k4 : SparseBits::k8;
    SparseFormat format{.bits = kind, .shape = {saved.size(0), saved.size(1), 12}};
    if (bits == 4) format.base = s4_base_exponent(saved.abs().max().item<float>());
    std::vector<std::byte> blocks(static_cast<size_t>(format.bytes()));
    const RowBlocks all{0, format.shape.row_blocks()};
    ASSERT_TRUE(quantize(format, saved.data_ptr<float>(), all, blocks.data()));
    const Tensor decoded = torch::empty_like(saved);
    dequantize(format, blocks.data(), all, decoded.data_ptr<float>());

    const Tensor x = torch::eye(saved.size(1));
    EXPECT_TRUE(torch::equal(linear(x), torch::linear(x, decoded)));
    // S4's values have eight significant bits: in bf16 they are the same.
    EXPECT_TRUE(bits == 8 || torch::equal(decoded, decoded.to(torch::kBFloat16).to(torch::kFloat32)));
    EXPECT_FALSE(torch::equal(decoded, saved));
  }
}

TEST(Sparsifier, LayersMultiplyWithWhatIsThere) {
  Trained trained("static");
  Linear& linear = trained.model->layers().front()->mlp->down_proj;
  const Tensor x = testing::random_tensor({3, linear->weight.size(1)}, 9).to(torch::kFloat32);
  linear->weight.detach().add_(1);  // so that absent ones would show
  const Tensor y = linear(x);
  EXPECT_TRUE(torch::equal(y, torch::linear(x, linear->weight * linear->view().mask)));
  y.sum().backward();
  EXPECT_TRUE(torch::equal(linear->weight.grad(), x.sum(0).expand_as(linear->weight))) << "straight through";
}

}  // namespace
}  // namespace ringflash
