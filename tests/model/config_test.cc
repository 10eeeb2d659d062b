#include "model/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "model/presets.h"

namespace ringflash {
namespace {

ModelConfig nano() {
  return preset_config("nano").value();
}

std::string error_after(const std::function<void(ModelConfig&)>& change) {
  ModelConfig config = nano();
  change(config);
  const Status status = validate(config);
  return status ? "accepted" : status.error().message;
}

TEST(ValidateConfig, TakesEveryPreset) {
  ASSERT_GE(presets().size(), 4u);
  for (const Preset& preset : presets()) {
    const Status status = validate(preset.config);
    EXPECT_TRUE(status) << preset.name << ": " << status.error().message;
  }
}

TEST(ValidateConfig, SizesHaveBounds) {
  const std::pair<const char*, int64_t ModelConfig::*> sizes[] = {
      {"vocab_size", &ModelConfig::vocab_size},
      {"hidden_size", &ModelConfig::hidden_size},
      {"intermediate_size", &ModelConfig::intermediate_size},
      {"num_hidden_layers", &ModelConfig::num_hidden_layers},
      {"num_attention_heads", &ModelConfig::num_attention_heads},
      {"num_key_value_heads", &ModelConfig::num_key_value_heads},
      {"head_dim", &ModelConfig::head_dim},
      {"max_position_embeddings", &ModelConfig::max_position_embeddings},
  };
  for (const auto& [key, member] : sizes) {
    for (const int64_t value :
         {int64_t{0}, int64_t{-1}, int64_t{1} << 62, std::numeric_limits<int64_t>::min()}) {
      const std::string error = error_after([&, m = member](ModelConfig& c) { c.*m = value; });
      EXPECT_TRUE(error.starts_with(std::string("'") + key + "' must be between ")) << error;
      EXPECT_TRUE(error.ends_with("found " + std::to_string(value))) << error;
    }
  }
}

TEST(ValidateConfig, ShapesMustFitTogether) {
  EXPECT_EQ(error_after([](auto& c) { c.num_key_value_heads = 3; }),
            "'num_attention_heads' must be a multiple of num_key_value_heads (3), found 4");
  EXPECT_EQ(error_after([](auto& c) { c.head_dim = 63; }),
            "'head_dim' must be even, for the rotary embedding, found 63");
  EXPECT_EQ(error_after([](auto& c) { c.attention.pop_back(); }),
            "'attention' must be a list of one entry per layer (6), found 5 entries");
  EXPECT_EQ(error_after([](auto& c) { c.eos_token_id = 4096; }),
            "'eos_token_id' must be between 0 and 4095, found 4096");
  EXPECT_EQ(error_after([](auto& c) { c.bos_token_id = -1; }),
            "'bos_token_id' must be between 0 and 4095, found -1");
}

TEST(ValidateConfig, RingGeometryMustBePossible) {
  EXPECT_EQ(error_after([](auto& c) { c.ring.window = 500; }),
            "'window' must be a multiple of stride (256), found 500");
  EXPECT_NE(error_after([](auto& c) { c.ring.window = 0; }), "accepted");
  EXPECT_NE(error_after([](auto& c) { c.ring.stride = 0; }), "accepted");
  EXPECT_NE(error_after([](auto& c) { c.ring.sink_tokens = 257; }), "accepted");
  EXPECT_EQ(error_after([](auto& c) { c.ring.sink_tokens = 256; }), "accepted");
  EXPECT_EQ(error_after([](auto& c) { c.ring.global_ratio = 0; }), "accepted");
  EXPECT_EQ(error_after([](auto& c) { c.ring.global_ratio = 1; }), "accepted");
  for (const double ratio : {-0.01, 1.01, std::nan(""), HUGE_VAL}) {
    EXPECT_TRUE(error_after([=](auto& c) {
                  c.ring.global_ratio = ratio;
                }).starts_with("'global_ratio' must be in [0, 1], found"));
  }
}

TEST(ValidateConfig, ScalarsMustBeNumbersInRange) {
  for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_NE(error_after([=](auto& c) { c.rms_norm_eps = bad; }), "accepted") << bad;
    EXPECT_NE(error_after([=](auto& c) { c.rope_theta = bad; }), "accepted") << bad;
  }
  for (const double bad : {0.0, std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    EXPECT_NE(error_after([=](auto& c) { c.embedding_multiplier = bad; }), "accepted") << bad;
  }
  EXPECT_EQ(error_after([](auto& c) { c.embedding_shift = 256; }), "accepted");
  EXPECT_EQ(error_after([](auto& c) { c.embedding_shift = 257; }), "'embedding_shift' must be between 0 and 256, found 257");
}

TEST(ValidateConfig, TopPagesHaveTheirOwnRanges) {
  const auto top_pages = [](int64_t factor, int64_t run, double ratio = 0.05) {
    return error_after([=](auto& c) {
      c.ring.select = GlobalSelect::kTopPages;
      c.ring.top_pages_factor = factor;
      c.ring.top_pages_run = run;
      c.ring.global_ratio = ratio;
    });
  };
  EXPECT_EQ(top_pages(1, 1), "accepted");
  EXPECT_EQ(top_pages(4096, 256), "accepted");
  EXPECT_EQ(top_pages(4, 32, 0), "accepted");  // no pages to choose from
  EXPECT_EQ(top_pages(0, 32), "'top_pages_factor' must be between 1 and 4096, found 0");
  EXPECT_EQ(top_pages(4097, 32), "'top_pages_factor' must be between 1 and 4096, found 4097");
  EXPECT_EQ(top_pages(4, 0), "'top_pages_run' must be between 1 and 256, found 0");
  EXPECT_EQ(top_pages(4, 257), "'top_pages_run' must be between 1 and 256, found 257");
  // The default run is longer than a chunk here, and not used.
  EXPECT_EQ(error_after([](auto& c) { c.ring = {.window = 16, .stride = 8}; }), "accepted");
}

TEST(ValidateConfig, BothWaysIsAMode) {
  EXPECT_EQ(error_after([](auto& c) { c.attention_mode = AttentionMode::kBidirectional; }), "accepted");
  ModelConfig config;
  EXPECT_TRUE(require_causal(config, "to generate"));
  config.attention_mode = AttentionMode::kBidirectional;
  EXPECT_EQ(require_causal(config, "to generate").error().message,
            "'attention_mode' must be \"causal\" to generate, found 'bidirectional'");
}

TEST(RingGeometry, TheBudgetIsLogarithmic) {
  const RingGeometry ring{.top_pages_factor = 3};
  const std::pair<int64_t, int64_t> budgets[] = {{1, 0}, {2, 3}, {3, 6}, {4, 6}, {5, 9}, {8, 9}, {9, 12}, {1024, 30}};
  for (const auto& [chunks, pages] : budgets) EXPECT_EQ(ring.page_budget(chunks), pages) << chunks;
}

TEST(RingGeometry, PagesHoldTheRatioRoundedUp) {
  const auto page = [](int64_t stride, double ratio) {
    return RingGeometry{.window = stride, .stride = stride, .global_ratio = ratio}.page_tokens();
  };
  EXPECT_EQ(page(256, 0.05), 13);  // 12.8
  EXPECT_EQ(page(512, 0.08), 41);  // 40.96
  EXPECT_EQ(page(60, 0.05), 3);    // 3.0000000000000004 in doubles
  EXPECT_EQ(page(100, 0.07), 7);   // 7.000000000000001
  EXPECT_EQ(page(256, 0), 0);
  EXPECT_EQ(page(256, 1), 256);
  EXPECT_EQ(page(1, 0.001), 1);
}

TEST(Presets, LongSequencesTakeWiderWindows) {
  for (const int64_t length : {256, 8192}) {
    EXPECT_EQ(ring_preset(length), (RingGeometry{.window = 512, .stride = 256, .global_ratio = 0.05}));
  }
  EXPECT_EQ(ring_preset(8193), (RingGeometry{.window = 1024, .stride = 512, .global_ratio = 0.08}));
}

TEST(Presets, GeometriesAreNamedForPeople) {
  EXPECT_EQ(ring_preset_name(ring_preset(8192)), "up to 8192 tokens");
  EXPECT_EQ(ring_preset_name(ring_preset(40960)), "beyond 8192 tokens");
  EXPECT_EQ(ring_preset_name({.window = 1024, .stride = 256}), "");
  RingGeometry ring = ring_preset(40960);
  EXPECT_EQ(ring_summary(ring), "window 1024, stride 512, 41 tokens of a chunk global");
  ring.select = GlobalSelect::kTopPages;
  EXPECT_EQ(ring_summary(ring),
            "window 1024, stride 512, 41 tokens of a chunk global, the best 2 log2(chunks) pages chosen every 32 tokens");
}

TEST(Presets, AnUnknownNameListsTheNames) {
  EXPECT_EQ(preset_config("giant").error().message,
            "there is no preset 'giant'; the presets are tiny, nano, micro, small");
}

TEST(Names, AreParsedBack) {
  for (const AttentionKind kind : {AttentionKind::kFull, AttentionKind::kRing}) {
    EXPECT_EQ(parse_attention_kind(to_string(kind)).value(), kind);
  }
  for (const GlobalSelect select : {GlobalSelect::kAll, GlobalSelect::kTopPages}) {
    EXPECT_EQ(parse_global_select(to_string(select)).value(), select);
  }
  for (const AttentionMode mode : {AttentionMode::kCausal, AttentionMode::kBidirectional}) {
    EXPECT_EQ(parse_attention_mode(to_string(mode)).value(), mode);
  }
  EXPECT_EQ(parse_attention_kind("Ring").error().message,
            "'attention' must be \"ring\", \"full\" or \"sliding\", found 'Ring'");
}

}  // namespace
}  // namespace ringflash
