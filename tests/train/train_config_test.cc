#include "train/train_config.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ringflash {
namespace {

TEST(TrainConfig, JsonRoundTrip) {
  TrainConfig config;
  config.learning_rate = 1.0 / 3;
  config.max_steps = 12345;
  config.precision = "fp32";
  const Result<TrainConfig> back = train_config_from_json(train_config_to_json(config));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, config);
}

TEST(TrainConfig, DefaultsAreTheRecipe) {
  const TrainConfig config;
  EXPECT_EQ(config.learning_rate, 1e-4);
  EXPECT_EQ(config.warmup_ratio, 0.05);
  EXPECT_EQ(config.max_grad_norm, 1.0);
}

TEST(TrainConfig, SettingsByName) {
  TrainConfig config;
  EXPECT_TRUE(set_field(config, "max_steps", "7").value());
  EXPECT_TRUE(set_field(config, "learning_rate", "2e-3").value());
  EXPECT_TRUE(set_field(config, "precision", "fp32").value());
  EXPECT_EQ(config.max_steps, 7);
  EXPECT_EQ(config.learning_rate, 2e-3);
  EXPECT_EQ(config.precision, "fp32");
  EXPECT_FALSE(set_field(config, "no_such_key", "1").value());
}

TEST(TrainConfig, WrongValuesAreNamed) {
  TrainConfig config;
  const Result<bool> result = set_field(config, "max_steps", "many");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().message, "'max_steps' must be an integer, found 'many'");
  EXPECT_FALSE(set_field(config, "learning_rate", "1e-3x").ok());
  EXPECT_FALSE(train_config_from_json("[1]").ok());
  EXPECT_FALSE(train_config_from_json(R"({"max_steps": "ten"})").ok());
}

TEST(TrainConfig, ValidatesRanges) {
  const auto message = [](auto change) {
    TrainConfig config;
    change(config);
    const Status status = validate(config);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(message([](TrainConfig&) {}), "");
  EXPECT_NE(message([](TrainConfig& c) { c.max_steps = 0; }).find("max_steps"), std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.learning_rate = -1; }).find("learning_rate"), std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.adam_beta2 = 1; }).find("adam_beta2"), std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.adam_beta1 = std::nan(""); }).find("adam_beta1"), std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.batch_size = int64_t{1} << 40; }).find("tokens"), std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.precision = "int3"; }).find("int3"), std::string::npos);
  EXPECT_NE(message([](TrainConfig& c) { c.device = "tpu"; }).find("tpu"), std::string::npos);
}

TEST(LearningRate, WarmsUpThenFollowsTheCosine) {
  TrainConfig config;
  config.learning_rate = 1.0;
  config.max_steps = 1000;
  config.warmup_ratio = 0.05;
  config.min_learning_rate_ratio = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 49), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 50), 1.0);
  EXPECT_NEAR(learning_rate_at(config, 525), 0.55, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 1000), 0.1, 1e-12);
  for (int64_t step = 51; step < 1000; ++step) {
    EXPECT_LT(learning_rate_at(config, step), learning_rate_at(config, step - 1));
  }
}

}  // namespace
}  // namespace ringflash
