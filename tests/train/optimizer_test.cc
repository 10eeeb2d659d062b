#include "train/optimizer.h"

#include "torch_support.h"
#include "train/moments8.h"

namespace ringflash {
namespace {

using torch::Tensor;

TEST(AdamW, MatchesTorchsOwn) {
  TrainConfig recipe;
  recipe.weight_decay = 0.1;
  recipe.adam_beta2 = 0.97;
  Tensor ours = testing::float_leaf(testing::random_tensor({33, 7}, 1));
  Tensor theirs = testing::double_leaf(testing::random_tensor({33, 7}, 1));
  AdamW optimizer({{"w", ours}}, recipe);
  torch::optim::AdamW reference(
      {theirs}, torch::optim::AdamWOptions(0.01).betas({0.9, 0.97}).eps(1e-8).weight_decay(0.1));
  for (int step = 0; step < 20; ++step) {
    const Tensor grad = testing::random_tensor({33, 7}, 100 + step);
    ours.mutable_grad() = grad.to(torch::kFloat32);
    theirs.mutable_grad() = grad * 0.5;
    optimizer.step(0.01, /*grad_scale=*/0.5);
    reference.step();
  }
  // Twenty updates of at most 0.01 each, every one rounded a few times.
  testing::expect_close(ours, theirs, {.absolute = 2e-6, .relative = 2e-6}, "weights");
}

TEST(AdamW, VectorsDoNotDecay) {
  TrainConfig recipe;
  recipe.weight_decay = 1.0;
  Tensor vector = torch::ones({5}).requires_grad_(true), matrix = torch::ones({5, 1}).requires_grad_(true);
  AdamW optimizer({{"v", vector}, {"m", matrix}}, recipe);
  vector.mutable_grad() = torch::zeros({5});
  matrix.mutable_grad() = torch::zeros({5, 1});
  optimizer.step(0.1, 1.0);
  EXPECT_TRUE(torch::equal(vector, torch::ones({5})));
  testing::expect_close(matrix, torch::full({5, 1}, 0.9), {.absolute = 1e-6}, "matrix");
}

TEST(AdamW, LeavesParametersWithoutGradientAlone) {
  Tensor w = torch::ones({4, 4}).requires_grad_(true);
  AdamW optimizer({{"w", w}}, TrainConfig{});
  optimizer.step(0.1, 1.0);
  EXPECT_TRUE(torch::equal(w, torch::ones({4, 4})));
}

TEST(AdamW, GradNormIsOverAllTensors) {
  Tensor a = torch::zeros({2}).requires_grad_(true), b = torch::zeros({2, 2}).requires_grad_(true);
  AdamW optimizer({{"a", a}, {"b", b}}, TrainConfig{});
  a.mutable_grad() = torch::tensor({3.0f, 0.0f});
  b.mutable_grad() = torch::tensor({{0.0f, 4.0f}, {0.0f, 12.0f}});
  EXPECT_NEAR(optimizer.grad_norm(), 13.0, 1e-6);
}

TEST(AdamW, StateRestoresBitForBit) {
  const auto run = [](Tensor w, AdamW& optimizer, int first, int last) {
    for (int step = first; step < last; ++step) {
      w.mutable_grad() = testing::random_tensor({9, 3}, step).to(torch::kFloat32);
      optimizer.step(0.01, 1.0);
    }
  };
  Tensor w = testing::float_leaf(testing::random_tensor({9, 3}, 7));
  AdamW optimizer({{"w", w}}, TrainConfig{});
  run(w, optimizer, 0, 3);
  Tensor copy = w.detach().clone().requires_grad_(true);
  AdamW restored({{"w", copy}}, TrainConfig{});
  {
    torch::NoGradGuard no_grad;
    for (size_t i = 0; i < 2; ++i) restored.state()[i].value.copy_(optimizer.state()[i].value);
  }
  restored.set_steps(optimizer.steps());
  run(w, optimizer, 3, 6);
  run(copy, restored, 3, 6);
  EXPECT_TRUE(torch::equal(w, copy));
}

constexpr int64_t kWide = 80;  // kWide^2 numbers are enough to be coded, and end within a block

TrainConfig eight_bits() {
  TrainConfig recipe;
  recipe.optimizer_bits = 8;
  return recipe;
}

TEST(AdamW8, TorchsOpsAndTheKernelAgree) {
  const Tensor x = testing::random_tensor({kWide, kWide}, 1).to(torch::kFloat32);
  for (const bool with_sign : {true, false}) {
    const kernels::DynamicMap& map = with_sign ? kernels::kSignedMap : kernels::kUnsignedMap;
    const Tensor values = with_sign ? x : x.square();
    Tensor codes = torch::empty(x.sizes(), torch::kUInt8), scales = torch::empty({moment_blocks(x.numel())});
    encode_moment(values, map, codes, scales);
    // Coding what was coded changes nothing.
    const Tensor decoded = decode_moment(codes, scales, map);
    Tensor again = torch::empty_like(codes), scales_again = torch::empty_like(scales);
    encode_moment(decoded, map, again, scales_again);
    if (!with_sign) {
      EXPECT_TRUE(torch::equal(codes, again));
    }

    // The kernel's, of the same first step.
    Tensor w = torch::zeros_like(x).requires_grad_(true);
    AdamW optimizer({{"w", w}}, eight_bits());
    w.mutable_grad() = x;
    optimizer.step(0.01, 1.0);
    const auto state = optimizer.state();
    ASSERT_EQ(state.size(), 4u);
    const Tensor theirs = decode_moment(state[with_sign ? 0 : 2].value, state[with_sign ? 1 : 3].value, map);
    const double share = with_sign ? 1 - 0.9f : 1 - 0.999f;  // (1 - beta) of the first gradient
    // Half a bin's width of the block's largest, for codes that fell the other way of halfway.
    testing::expect_close(theirs / share, decoded, {.absolute = 0.02, .relative = 1e-5}, "moments");
    EXPECT_GT((theirs / share - decoded).abs().lt(1e-5).to(torch::kFloat32).mean().item<double>(), 0.99);
  }
}

TEST(AdamW8, ComposedStepsMatchTheKernels) {
  const Tensor start = testing::random_tensor({kWide, kWide}, 1).to(torch::kFloat32);
  const Tensor mask = testing::random_tensor({kWide, kWide}, 2).gt(0);
  for (const int64_t bits : {32, 8}) {
    TrainConfig recipe;
    recipe.optimizer_bits = bits;
    Tensor ours = start.clone().requires_grad_(true), theirs = start.clone().requires_grad_(true);
    AdamW kernels({{"w", ours}}, recipe), composed({{"w", theirs}}, recipe);
    composed.use_torch_ops();
    for (AdamW* optimizer : {&kernels, &composed}) {
      optimizer->set_mask("w", mask, {.rate_scale = 1.5, .pruned_scale = 0.1, .l1 = 2});
    }
    for (int step = 0; step < 5; ++step) {
      const Tensor grad = testing::random_tensor({kWide, kWide}, 10 + step).to(torch::kFloat32);
      ours.mutable_grad() = theirs.mutable_grad() = grad;
      kernels.step(0.01, 0.5);
      composed.step(0.01, 0.5);
    }
    // Steps are about 0.015 long. A moment that lies halfway between two codes may fall either way: a seventieth of it.
    const Tensor off = (ours - theirs).abs();
    EXPECT_LT(off.max().item<double>(), bits == 32 ? 2e-6 : 5 * 0.015 / 70) << bits;
    EXPECT_GT(off.lt(2e-6).to(torch::kFloat32).mean().item<double>(), 0.98) << bits;
    EXPECT_GT((ours - start).abs().mean().item<double>(), 0.01) << "nothing moved";
  }
}

TEST(AdamW8, EmbeddingsHeadsAndSmallTensorsStayIn32Bits) {
  std::vector<AdamW::Parameter> parameters;
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight", "model.layers.0.mlp.up_proj.weight"}) {
    const bool vector = std::string(name).find("norm") != std::string::npos;
    parameters.push_back({name, vector ? torch::ones({5000}) : torch::ones({kWide, kWide})});
  }
  parameters.push_back({"model.layers.0.self_attn.router.weight", torch::ones({4, 4})});
  AdamW optimizer(parameters, eight_bits());
  for (const auto& [name, value] : optimizer.state()) {
    const bool coded = value.scalar_type() == torch::kUInt8;
    EXPECT_EQ(coded, name.find("up_proj") != std::string::npos && name.find(".scale") == std::string::npos) << name;
  }
}

TEST(AdamW8, TakesAQuarterOfTheMemory) {
  const auto bytes = [](const TrainConfig& recipe) {
    return AdamW({{"w", torch::ones({1024, 1024})}}, recipe).state_bytes();
  };
  EXPECT_EQ(bytes(TrainConfig{}), 2 * 4 * 1024 * 1024);
  EXPECT_EQ(bytes(eight_bits()), 2 * (1024 * 1024 + 4 * 4096));
}

TEST(AdamW8, ForgottenMomentsAreZero) {
  Tensor w = torch::zeros({kWide, kWide}).requires_grad_(true);
  AdamW optimizer({{"w", w}}, eight_bits());
  w.mutable_grad() = torch::ones({kWide, kWide});
  optimizer.step(0.01, 1.0);
  const Tensor where = testing::random_tensor({kWide, kWide}, 5).gt(0);
  optimizer.reset_moments("w", where);
  const auto state = optimizer.state();
  for (const size_t i : {0, 2}) {
    const Tensor x = decode_moment(state[i].value, state[i + 1].value, i == 0 ? kernels::kSignedMap : kernels::kUnsignedMap);
    EXPECT_TRUE(torch::equal(x.eq(0), where));
  }
}

}  // namespace
}  // namespace ringflash
