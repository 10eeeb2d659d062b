#include "train/optimizer.h"

#include "torch_support.h"

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

}  // namespace
}  // namespace ringflash
