#include "train/train_config.h"

#include <gtest/gtest.h>

#include <cmath>

#include "train/loss_scaler.h"

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
  EXPECT_EQ(config.lr_scheduler_type, "cosine");
  EXPECT_EQ(config.max_grad_norm, 1.0);
  EXPECT_EQ(config.l1, 0.01);
  EXPECT_EQ(config.initial_loss_scale, 65536);
  EXPECT_EQ(config.loss_scale_growth_steps, 2000);
}

TEST(TrainConfig, TheLossIsScaledForFp16) {
  TrainConfig config;
  EXPECT_FALSE(config.scales_loss());
  config.precision = "fp16";
  EXPECT_TRUE(config.scales_loss());
  config.loss_scaling = "off";
  EXPECT_FALSE(config.scales_loss());
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
  EXPECT_EQ(message([](TrainConfig& c) { c.device = "tpu"; }), "'device' must be cpu or cuda, found 'tpu'");
  EXPECT_EQ(message([](TrainConfig& c) { c.loss_scaling = "yes"; }), "'loss_scaling' must be auto, on or off, found 'yes'");
  EXPECT_EQ(message([](TrainConfig& c) { c.optimizer_bits = 4; }), "'optimizer_bits' must be 32 or 8, found 4");
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

TEST(LearningRate, FallsInALineOrNotAtAll) {
  TrainConfig config;
  config.learning_rate = 1.0;
  config.max_steps = 100;
  config.warmup_ratio = 0;
  config.min_learning_rate_ratio = 0.2;
  config.lr_scheduler_type = "linear";
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 1.0);
  EXPECT_NEAR(learning_rate_at(config, 25), 0.8, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 100), 0.2, 1e-12);
  config.lr_scheduler_type = "constant";
  EXPECT_EQ(learning_rate_at(config, 99), 1.0);
}

TEST(LossScaler, FollowsGradScalersRules) {
  LossScaler scaler;
  EXPECT_EQ(scaler.scale, 65536);
  scaler.update(/*finite=*/false, 3);
  EXPECT_EQ(scaler.scale, 32768);
  for (const double expected : {32768, 32768, 65536, 65536, 65536, 131072}) {
    scaler.update(/*finite=*/true, 3);
    EXPECT_EQ(scaler.scale, expected);
  }
  // What came before a bad step counts for nothing.
  for (const bool finite : {true, true, false, true, true}) scaler.update(finite, 3);
  EXPECT_EQ(scaler.scale, 65536);
  scaler.update(true, 3);
  EXPECT_EQ(scaler.scale, 131072);
}

}  // namespace
}  // namespace ringflash
