// What a run is made of before anything is trained: presets by length, and who wins over them.
#include "train/setup.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "model/presets.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using Settings = std::vector<std::pair<std::string, std::string>>;

class Setup : public ::testing::Test {
 protected:
  TrainRequest request(const Settings& settings = {}) const {
    TrainRequest request;
    request.out = directory_ / "run";
    request.preset = "tiny";
    request.settings = settings;
    return request;
  }

  TrainRequest with_config(const std::string& keys, const Settings& settings = {}) const {
    TrainRequest with_file = request(settings);
    with_file.config = directory_ / "config.json";
    const std::string shape = R"("vocab_size": 400, "hidden_size": 64, "intermediate_size": 96,
                                 "num_hidden_layers": 2, "num_attention_heads": 2)";
    EXPECT_TRUE(write_file(*with_file.config, "{" + shape + keys + "}"));
    return with_file;
  }

  static ModelConfig model(const TrainRequest& request) {
    const Result<RunSetup> setup = set_up_run(request);
    EXPECT_TRUE(setup) << setup.error().message;
    return setup ? setup->model : ModelConfig{};
  }

  const testing::TemporaryDirectory directory_;
};

TEST_F(Setup, ALengthBringsItsRing) {
  EXPECT_EQ(model(request()).ring, ring_preset(256));
  for (const int64_t length : {8192, 8193, 40960}) {
    const ModelConfig config = model(request({{"sequence_length", std::to_string(length)}, {"batch_size", "1"}}));
    EXPECT_EQ(config.ring, ring_preset(length));
    EXPECT_EQ(config.max_position_embeddings, length);
  }
}

TEST_F(Setup, WhatIsSetWinsOverTheLengthsPreset) {
  for (const bool length_first : {true, false}) {
    Settings settings = {{"window", "2048"}, {"global_ratio", "0.1"}, {"global_select", "top_pages"}};
    settings.insert(length_first ? settings.begin() : settings.end(), {"sequence_length", "16384"});
    const RingGeometry ring = model(request(settings)).ring;
    EXPECT_EQ(ring, (RingGeometry{.window = 2048, .stride = 512, .global_ratio = 0.1,
                                  .select = GlobalSelect::kTopPages}));
  }
}

TEST_F(Setup, AFilesKeysWinAndTheRestSuitsTheLength) {
  const Settings settings = {{"sequence_length", "16384"}};
  const ModelConfig bare = model(with_config(R"(, "max_position_embeddings": 512)", settings));
  EXPECT_EQ(bare.ring, ring_preset(16384));
  EXPECT_EQ(bare.max_position_embeddings, 16384);

  const ModelConfig given = model(with_config(R"(, "max_position_embeddings": 512, "stride": 64)", settings));
  EXPECT_EQ(given.ring, (RingGeometry{.window = 1024, .stride = 64, .global_ratio = 0.08}));

  // Rows may be shorter than what the model is meant for; its ring is the longer sequence's.
  const ModelConfig long_model = model(with_config(R"(, "max_position_embeddings": 40960)"));
  EXPECT_EQ(long_model.ring, ring_preset(40960));
}

TEST_F(Setup, NextTokensAreForModelsThatDoNotSeeThem) {
  const std::string both = R"(, "max_position_embeddings": 512, "attention_mode": "bidirectional")";
  const std::string reason = "'attention_mode' must be \"causal\" to be trained on next tokens, found 'bidirectional'";
  for (const TrainRequest& both_ways : {request({{"attention_mode", "bidirectional"}}), with_config(both)}) {
    const Result<RunSetup> setup = set_up_run(both_ways);
    ASSERT_FALSE(setup);
    EXPECT_NE(setup.error().message.find(reason), std::string::npos) << setup.error().message;
  }
  EXPECT_EQ(model(with_config(both, {{"attention_mode", "causal"}})).attention_mode, AttentionMode::kCausal);
}

TEST_F(Setup, ALengthThatIsNoneIsNamed) {
  for (const auto* length : {"0", "-5", "1e3", ""}) {
    const Result<RunSetup> setup = set_up_run(request({{"sequence_length", length}}));
    ASSERT_FALSE(setup) << length;
    EXPECT_NE(setup.error().message.find("'sequence_length' must be"), std::string::npos) << setup.error().message;
  }
}

}  // namespace
}  // namespace ringflash
