#include "format/checkpoint.h"

#include <gtest/gtest.h>

#include "format/tiny_checkpoint.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::tiny_config;
using testing::Weights;
using testing::write_checkpoint;
using testing::write_plain;

class CheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override { write_checkpoint(path_, config_, weights_); }

  /// The error of opening, without the directory.
  std::string open_error() {
    const auto checkpoint = open_checkpoint(path_);
    if (checkpoint) return "accepted";
    const std::string& message = checkpoint.error().message;
    EXPECT_TRUE(message.starts_with(path_.string() + "/")) << message;
    return message.substr(path_.string().size() + 1);
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "run";
  ModelConfig config_ = tiny_config();
  Weights weights_ = testing::random_weights(config_);
};

TEST_F(CheckpointTest, OpensWhatWasWritten) {
  const auto checkpoint = open_checkpoint(path_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->directory, path_);
  EXPECT_EQ(checkpoint->config, config_);
  EXPECT_EQ(checkpoint->vocabulary.pieces.size(), 261u);
  ASSERT_EQ(checkpoint->weights.tensors().size(), weights_.size());
  for (const auto& [name, values] : weights_)
    EXPECT_EQ(to_floats(*checkpoint->weights.find(name)), values) << name;
}

TEST_F(CheckpointTest, TheHighestStepIsTaken) {
  const auto run = directory_ / "steps";
  for (const char* name : {"checkpoint-9", "checkpoint-100", "checkpoint-20", "checkpoint-200.tmp",
                           "checkpoint-", "checkpoint--500", "checkpoint-7e3", "trainer"}) {
    write_checkpoint(run / name, config_, weights_);
  }
  std::filesystem::create_directories(run / "checkpoint-300");  // holds no config.json
  EXPECT_EQ(resolve_checkpoint(run).value(), run / "checkpoint-100");
  EXPECT_EQ(open_checkpoint(run).value().directory, run / "checkpoint-100");
  EXPECT_EQ(resolve_checkpoint(run / "checkpoint-9").value(), run / "checkpoint-9");
}

TEST_F(CheckpointTest, StepsAreReadFromNames) {
  EXPECT_EQ(checkpoint_step("out/checkpoint-120"), 120);
  EXPECT_EQ(checkpoint_step("out/checkpoint-120/"), 120);
  EXPECT_EQ(checkpoint_step("checkpoint-0"), 0);
  for (const char* name : {"checkpoint", "checkpoint-", "checkpoint--1", "checkpoint-1x", "checkpoint-+1",
                           "xcheckpoint-1", "checkpoint-99999999999999999999", "", "/"}) {
    EXPECT_EQ(checkpoint_step(name), std::nullopt) << name;
  }
}

TEST_F(CheckpointTest, WhatIsNoCheckpointIsNamed) {
  const auto empty = directory_ / "empty";
  std::filesystem::create_directories(empty);
  EXPECT_EQ(resolve_checkpoint(empty).error().message,
            empty.string() +
                ": expected a directory with config.json, or with checkpoint-<step> directories that "
                "have one, found neither");
  EXPECT_EQ(
      resolve_checkpoint(directory_ / "absent").error().message,
      (directory_ / "absent").string() + ": expected a checkpoint directory: No such file or directory");
  EXPECT_EQ(resolve_checkpoint(path_ / "config.json").error().message,
            (path_ / "config.json").string() + ": expected a checkpoint directory: Not a directory");
}

TEST_F(CheckpointTest, MissingFilesAreNamed) {
  write_checkpoint(path_, config_, weights_);
  std::filesystem::remove(path_ / "model.safetensors");
  EXPECT_EQ(open_error(), "model.safetensors: cannot be opened: No such file or directory");
  write_checkpoint(path_, config_, weights_);
  std::filesystem::remove(path_ / "tokenizer.model");
  EXPECT_EQ(open_checkpoint(path_).error().message,
            path_.string() + ": expected tokenizer.json or tokenizer.model, found neither");
}

TEST_F(CheckpointTest, ABadConfigIsNamedWithItsFile) {
  write_plain(path_ / "config.json", "{\"windw\": 1}");
  EXPECT_EQ(open_error(), "config.json: unknown key 'windw'; did you mean 'window'?");
  write_plain(path_ / "config.json", std::string((1 << 20) + 1, ' '));
  EXPECT_EQ(open_error(), "config.json: expected a config of at most 1 MiB, found 1048577 bytes");
}

TEST_F(CheckpointTest, ATokenizerOfAnotherModelIsRefused) {
  ModelConfig larger = config_;
  larger.vocab_size = 262;
  write_plain(path_ / "config.json", config_to_json(larger));
  EXPECT_EQ(open_error(), "tokenizer.model: expected 262, config.json's 'vocab_size', found 261");
  ModelConfig other_end = config_;
  other_end.eos_token_id = 0;
  write_plain(path_ / "config.json", config_to_json(other_end));
  EXPECT_EQ(open_error(), "tokenizer.model: expected 0, config.json's 'eos_token_id', found 2");
  write_plain(path_ / "config.json", config_to_json(config_));
  write_plain(path_ / "tokenizer.model", "not a tokenizer");
  EXPECT_TRUE(open_error().starts_with("tokenizer.model: "));
}

TEST_F(CheckpointTest, TensorsMustBeTheModels) {
  std::vector<TensorView> views;
  for (const TensorSpec& spec : tensor_inventory(config_)) {
    views.push_back({spec.name, DType::kF32, spec.shape, std::as_bytes(std::span(weights_.at(spec.name)))});
  }
  const auto error_with = [&](const std::vector<TensorView>& tensors) {
    EXPECT_TRUE(write_safetensors(path_ / "model.safetensors", tensors));
    return open_error();
  };
  EXPECT_EQ(error_with(views), "accepted");

  std::vector<TensorView> spoiled = views;
  spoiled.pop_back();
  EXPECT_EQ(error_with(spoiled),
            "model.safetensors: tensor 'model.norm.weight': expected shape [64], found no such tensor");
  spoiled = views;
  std::swap(spoiled[2].shape[0], spoiled[2].shape[1]);  // q_proj is square; k_proj is not
  std::swap(spoiled[3].shape[0], spoiled[3].shape[1]);
  EXPECT_EQ(error_with(spoiled),
            "model.safetensors: tensor 'model.layers.0.self_attn.k_proj.weight': expected "
            "shape [32,64], found [64,32]");
  spoiled = views;
  spoiled.push_back(views[0]);
  spoiled.back().name = "lm_head.weight";
  EXPECT_EQ(error_with(spoiled),
            "model.safetensors: tensor 'lm_head.weight' is not part of the model that "
            "config.json describes");
  spoiled = views;
  spoiled[0].dtype = DType::kI32;
  EXPECT_EQ(error_with(spoiled),
            "model.safetensors: tensor 'model.embed_tokens.weight': expected F32, F16 or BF16, found I32");
}

TEST_F(CheckpointTest, CutWeightsAreRefused) {
  const std::string whole = read_file(path_ / "model.safetensors").value();
  for (size_t size = 0; size < whole.size(); size += 16 * 1024) {
    write_plain(path_ / "model.safetensors", whole.substr(0, size));
    ASSERT_NE(open_error(), "accepted") << size;
  }
}

}  // namespace
}  // namespace ringflash
