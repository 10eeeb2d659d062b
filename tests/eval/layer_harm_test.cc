#include "eval/layer_harm.h"

#include <gtest/gtest.h>

#include "eval/perplexity.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

constexpr const char* kText = "A text that is longer than windows of sixteen bytes and a chunk of eight of them.";

class LayerHarmTest : public ::testing::Test {
 protected:
  LayerHarmTest() { testing::write_tiny_gguf(file_, {}); }

  /// Of layers 0 to 3, those named are rings.
  double bits_per_byte(const std::vector<int64_t>& rings) {
    const Model model = Model::load(file_, [&](ModelConfig& config) {
                          config.attention.assign(4, AttentionKind::kFull);
                          for (const int64_t layer : rings) config.attention[static_cast<size_t>(layer)] = AttentionKind::kRing;
                        }).value();
    return evaluate_perplexity(model, executor_, kText, {}, {}).value().bits_per_byte();
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path file_ = directory_ / "model.gguf";
  SerialExecutor executor_;
};

TEST_F(LayerHarmTest, IsThatOfOneRingAtATime) {
  int64_t last = 0, total = 0;
  const auto report = measure_layer_harm(file_, executor_, kText, [&](int64_t done, int64_t all) {
    EXPECT_GT(done, last);
    last = done;
    total = all;
  });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(last, total);
  EXPECT_EQ(report->full_bits_per_byte, bits_per_byte({}));
  ASSERT_EQ(report->layers.size(), 3u);  // layer 1 is full
  for (size_t i = 0; i < 3; ++i) {
    const LayerHarm& harm = report->layers[i];
    EXPECT_EQ(harm.layer, (std::vector<int64_t>{0, 2, 3}[i]));
    EXPECT_EQ(harm.bits_per_byte, bits_per_byte({harm.layer}));
    EXPECT_NE(harm.bits_per_byte, report->full_bits_per_byte);
  }
}

TEST_F(LayerHarmTest, NamesWhatIsWrong) {
  EXPECT_FALSE(measure_layer_harm(directory_ / "nowhere", executor_, kText, [](int64_t, int64_t) {}));
  EXPECT_EQ(measure_layer_harm(file_, executor_, "It is short", [](int64_t, int64_t) {}).error().message,
            "a text must be longer than window and stride, 24 tokens, to show any harm, found 12");
}

TEST(HarmReport, WorstLayersComeInOrder) {
  const HarmReport report{1.0, {{0, 1.5}, {2, 1.1}, {3, 1.5}, {5, 1.6}, {6, 1.0}}};
  EXPECT_EQ(report.worst(0), std::vector<int64_t>{});
  EXPECT_EQ(report.worst(2), (std::vector<int64_t>{0, 5}));  // of equals the earlier
  EXPECT_EQ(report.worst(3), (std::vector<int64_t>{0, 3, 5}));
  EXPECT_EQ(report.worst(9), (std::vector<int64_t>{0, 2, 3, 5, 6}));
}

}  // namespace
}  // namespace ringflash
