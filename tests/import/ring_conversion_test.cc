#include "import/ring_conversion.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "format/checkpoint.h"
#include "import/foreign_files.h"
#include "import/import_model.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

constexpr RingGeometry kRing = {.window = 16, .stride = 8, .global_ratio = 0.25, .sink_tokens = 2};
constexpr auto kFull = AttentionKind::kFull;
constexpr auto kRingKind = AttentionKind::kRing;

class ImportRing : public ::testing::Test {
 protected:
  /// The error's message, if it is one.
  std::string import(const std::string& architecture, const RingConversion& conversion) {
    config_ = testing::tiny_imported_config(architecture);
    weights_ = testing::foreign_weights(config_, 1);
    testing::write_foreign_gguf(directory_ / "model.gguf", architecture, config_, weights_);
    const auto report = import_model(directory_ / "model.gguf", directory_ / "out", {.force = true, .ring = conversion});
    return report ? "" : report.error().message;
  }
  Checkpoint checkpoint() const { return open_checkpoint(directory_ / "out").value(); }

  testing::TemporaryDirectory directory_;
  ModelConfig config_;
  testing::ForeignWeights weights_;
};

TEST_F(ImportRing, ReplacesFullLayersAndNothingElse) {
  ASSERT_EQ(import("llama", {kRing, {1}}), "");
  const Checkpoint made = checkpoint();
  ModelConfig expected = config_;
  expected.ring = kRing;
  expected.ring.global_rope = true;
  expected.attention = {kRingKind, kFull};
  EXPECT_EQ(made.config, expected);
  for (const auto& [name, values] : weights_) EXPECT_EQ(to_floats(*made.weights.find(name)), values) << name;
  const std::vector<float> router = to_floats(*made.weights.find("model.layers.0.self_attn.router.weight"));
  EXPECT_EQ(router, std::vector<float>(static_cast<size_t>(config_.num_key_value_heads * config_.hidden_size)));
  EXPECT_EQ(made.weights.find("model.layers.1.self_attn.router.weight"), nullptr);
}

TEST_F(ImportRing, SlidingLayersStay) {
  ASSERT_EQ(import("gemma3", {kRing, {}}), "");
  EXPECT_EQ(checkpoint().config.attention, (std::vector{AttentionKind::kSliding, kRingKind}));
}

TEST_F(ImportRing, PagesMayBeEmpty) {
  RingGeometry ring = kRing;
  ring.global_ratio = 0;
  ASSERT_EQ(import("llama", {ring, {}}), "");
  EXPECT_EQ(checkpoint().config.attention, (std::vector{kRingKind, kRingKind}));
}

TEST_F(ImportRing, ErrorsNameWhatIsWrong) {
  const std::string place = (directory_ / "model.gguf").string() + ": ";
  EXPECT_EQ(import("llama", {kRing, {2}}), place + "layer 2 cannot stay full: the model has layers 0 to 1");
  EXPECT_EQ(import("gemma3", {kRing, {0}}), place + "layer 0 cannot stay full: it is sliding");
  RingGeometry uneven = kRing;
  uneven.window = 15;
  EXPECT_EQ(import("llama", {uneven, {}}), place + "'window' must be a multiple of stride (8), found 15");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
}

TEST(ConvertToRing, WantsFullAttention) {
  ImportedModel model{"none", testing::tiny_ring_config(), {}, {}};
  model.config.attention.assign(4, kRingKind);
  EXPECT_EQ(convert_to_ring(model, {kRing, {}}).error().message, "the model has no full attention that a ring could replace");
}

}  // namespace
}  // namespace ringflash
