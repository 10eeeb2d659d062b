// What is saved is what comes back, and a save that fails leaves the earlier one alone.
#include "train/checkpointing.h"

#include <sys/resource.h>

#include <csignal>

#include "base/file.h"
#include "format/checkpoint.h"
#include "model/presets.h"
#include "temporary_directory.h"
#include "torch_support.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

ModelConfig sparse_config() {
  ModelConfig config = preset_config("tiny").value();
  config.sparsity = {.pattern = SparsePattern::kBlock, .exceptions = {"q_proj=fine", "o_proj=none"}};
  return config;
}

class Checkpointing : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(write_file(tokenizer_ / "tokenizer.model", "as it is").ok()); }

  Result<fs::path> save(int64_t step) {
    return save_checkpoint(directory_.path(), model_, optimizer_, sparsifier_,
                           {.step = step, .rows = 4 * step, .seconds = 1.5}, recipe_, tokenizer_);
  }

  const testing::TemporaryDirectory directory_;
  const fs::path tokenizer_ = directory_.path();
  const ModelConfig config_ = sparse_config();
  TrainConfig recipe_;
  CausalLm model_{config_, 1};
  AdamW optimizer_{parameters_of(model_), recipe_};
  Sparsifier sparsifier_{model_, optimizer_, recipe_, /*fresh=*/true};
};

TEST_F(Checkpointing, RoundTripIsBitExact) {
  for (auto& [name, value] : parameters_of(model_)) value.mutable_grad() = torch::full_like(value, 0.25);
  optimizer_.step(0.01, 1.0);
  ASSERT_TRUE(sparsifier_.after_step(recipe_.max_steps / 2));
  const Result<fs::path> saved = save(7);
  ASSERT_TRUE(saved.ok()) << saved.error().message;
  EXPECT_EQ(*saved, directory_ / "checkpoint-7");

  CausalLm model(config_, 2);
  AdamW optimizer(parameters_of(model), recipe_);
  Sparsifier sparsifier(model, optimizer, recipe_, /*fresh=*/true);
  ASSERT_TRUE(load_weights(*saved, model).ok());
  const Result<Progression> progression = load_trainer_state(*saved, optimizer, sparsifier);
  ASSERT_TRUE(progression.ok()) << progression.error().message;
  EXPECT_EQ(progression->step, 7);
  EXPECT_EQ(progression->rows, 28);
  EXPECT_EQ(optimizer.steps(), 1);
  EXPECT_EQ(*load_train_config(*saved), recipe_);
  const auto before = parameters_of(model_), after = parameters_of(model);
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(torch::equal(before[i].value, after[i].value));
  const auto masks_before = sparsifier_.tensors(), masks_after = sparsifier.tensors();
  ASSERT_EQ(masks_before.size(), 2u * 2 * 6);  // o_proj is none
  for (size_t i = 0; i < masks_before.size(); ++i) {
    EXPECT_TRUE(torch::equal(masks_before[i].value, masks_after[i].value)) << masks_before[i].name;
  }
  const auto state_before = optimizer_.state(), state_after = optimizer.state();
  for (size_t i = 0; i < state_before.size(); ++i) {
    EXPECT_TRUE(torch::equal(state_before[i].value, state_after[i].value));
  }
}

TEST_F(Checkpointing, AbsentWeightsAreSavedAsZeros) {
  ASSERT_TRUE(sparsifier_.after_step(recipe_.max_steps / 2));
  const Result<fs::path> saved = save(1);
  ASSERT_TRUE(saved.ok()) << saved.error().message;
  CausalLm loaded(config_, 2);
  ASSERT_TRUE(load_weights(*saved, loaded).ok());
  const auto& ours = *model_->layers().front()->mlp->up_proj;
  const Tensor seen = loaded->layers().front()->mlp->up_proj->weight;
  EXPECT_TRUE(torch::equal(seen, ours.weight * ours.view().mask));
  EXPECT_LT(seen.ne(0).sum().item<int64_t>(), seen.numel() / 4);
}

TEST_F(Checkpointing, KeepsTheLastFew) {
  recipe_.save_total_limit = 2;
  for (const int64_t step : {5, 10, 100}) ASSERT_TRUE(save(step).ok());
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-5"));
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-10"));
  EXPECT_EQ(resolve_checkpoint(directory_.path()).value(), directory_ / "checkpoint-100");
}

TEST_F(Checkpointing, SweepsUpWhatAKilledSaveLeft) {
  fs::create_directory(directory_ / "checkpoint-3.tmp");
  fs::create_directory(directory_ / "checkpoint-99999");  // not one of ours: no config.json
  recipe_.save_total_limit = 1;
  ASSERT_TRUE(save(5).ok());
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-3.tmp"));
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-99999"));
  EXPECT_TRUE(fs::exists(directory_ / "checkpoint-5/model.safetensors"));
}

TEST_F(Checkpointing, FullDiskLeavesTheOldOne) {
  ASSERT_TRUE(save(1).ok());
  // A limit on the size of files stands in for the full disk: both make write() fail half-way.
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit small = {.rlim_cur = 100'000, .rlim_max = old_limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Result<fs::path> failed = save(2);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  ASSERT_FALSE(failed.ok());
  EXPECT_NE(failed.error().message.find("cannot be written"), std::string::npos) << failed.error().message;
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-2"));
  EXPECT_FALSE(fs::exists(directory_ / "checkpoint-2.tmp"));
  EXPECT_EQ(resolve_checkpoint(directory_.path()).value(), directory_ / "checkpoint-1");
  CausalLm model(config_, 2);
  EXPECT_TRUE(load_weights(directory_ / "checkpoint-1", model).ok());
  EXPECT_TRUE(save(2).ok());
}

TEST_F(Checkpointing, RefusesOtherShapes) {
  ASSERT_TRUE(save(1).ok());
  ModelConfig wider = config_;
  wider.intermediate_size *= 2;
  CausalLm model(wider, 1);
  const Status status = load_weights(directory_ / "checkpoint-1", model);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("mlp."), std::string::npos) << status.error().message;
}

}  // namespace
}  // namespace ringflash
