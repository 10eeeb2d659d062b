#include "model/counts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "base/ceil_div.h"
#include "model/presets.h"

namespace ringflash {
namespace {

ModelConfig preset(const char* name) {
  return preset_config(name).value();
}

/// The keys a query sees, collected one by one as the definition has it: its own chunk up to itself, the
/// chunks of its band, the sinks, and of every chunk behind, or the first `pages` of them, the page (here its last
/// tokens, so that no sink is among them).
int64_t count_visible(const RingGeometry& ring, int64_t position, int64_t pages = 1 << 30) {
  int64_t keys = 0;
  for (int64_t key = 0; key <= position; ++key) {
    const bool local = ring.chunk(key) >= ring.chunk(position) - ring.window / ring.stride;
    const bool in_page = key % ring.stride >= ring.stride - ring.page_tokens() && ring.chunk(key) < pages;
    keys += local || in_page || key < ring.sink_tokens ? 1 : 0;
  }
  return keys;
}

/// The same for attention both ways: chunks within the band's distance round the ring, and the pages of the complete
/// ones outside.
int64_t count_visible_both_ways(const RingGeometry& ring, int64_t position, int64_t tokens) {
  const int64_t chunks = ceil_div(tokens, ring.stride);
  int64_t keys = 0;
  for (int64_t key = 0; key < tokens; ++key) {
    const int64_t apart = std::abs(ring.chunk(key) - ring.chunk(position));
    const bool local = std::min(apart, chunks - apart) <= ring.window / ring.stride;
    const bool in_page = key % ring.stride < ring.page_tokens() && ring.chunk(key) < tokens / ring.stride;
    keys += local || in_page ? 1 : 0;
  }
  return keys;
}

constexpr RingGeometry kGeometries[] = {
    {.window = 32, .stride = 16, .global_ratio = 0.2, .sink_tokens = 3},
    {.window = 16, .stride = 16, .global_ratio = 0.5, .sink_tokens = 0},
    {.window = 8, .stride = 4, .global_ratio = 0, .sink_tokens = 4},
    {.window = 20, .stride = 5, .global_ratio = 0.3, .sink_tokens = 1},
    {.window = 6, .stride = 3, .global_ratio = 1, .sink_tokens = 0},
};

TEST(DenseTwin, HasAllWeightsAndSeesEverything) {
  ModelConfig config = preset("nano");
  config.sparsity.pattern = SparsePattern::kFine;
  const ModelConfig twin = dense_twin(config);
  EXPECT_EQ(count_parameters(twin).active_linear, count_parameters(config).linear);
  EXPECT_EQ(twin.attention, std::vector<AttentionKind>(6, AttentionKind::kFull));
  EXPECT_LT(forward_macs(config, 8192), forward_macs(twin, 8192) / 2);
}

TEST(CountParameters, NanoIsCountedByHand) {
  const ParameterCounts counts = count_parameters(preset("nano"));
  // 6 layers of width 256: q and o 256*256, k and v 128*256, gate, up and down 768*256; a router of 2*256. q and k are normed, 64 wide.
  EXPECT_EQ(counts.linear, 6 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 768 * 256));
  EXPECT_EQ(counts.embedding, 4096 * 256);
  EXPECT_EQ(counts.router, 6 * 2 * 256);
  EXPECT_EQ(counts.norm, 13 * 256 + 6 * 2 * 64);
  EXPECT_EQ(counts.total(), counts.linear + counts.embedding + counts.router + counts.norm);
}

TEST(CountParameters, PresetsAreAsLargeAsTheySay) {
  const auto millions = [](const char* name) {
    const ParameterCounts counts = count_parameters(preset(name));
    return static_cast<double>(counts.total() - counts.embedding) / 1e6;
  };
  EXPECT_NEAR(millions("tiny"), 0.1, 0.05);
  EXPECT_NEAR(millions("nano"), 5, 0.5);
  EXPECT_NEAR(millions("micro"), 20, 2);
  EXPECT_NEAR(millions("small"), 100, 10);
}

TEST(VisibleKeys, FullAttentionSeesAllBefore) {
  for (const int64_t t : {0, 1, 4095})
    EXPECT_EQ(visible_keys(preset("nano"), AttentionKind::kFull, t, 4096), t + 1);
}

TEST(VisibleKeys, RingMatchesItsDefinition) {
  ModelConfig config = preset("nano");
  for (const RingGeometry& ring : kGeometries) {
    config.ring = ring;
    for (int64_t t = 0; t < 200; ++t) {
      ASSERT_EQ(visible_keys(config, AttentionKind::kRing, t, 200), count_visible(ring, t))
          << "window " << ring.window << ", stride " << ring.stride << ", position " << t;
    }
  }
}

TEST(VisibleKeys, TopPagesAreAsManyAsTheBudget) {
  ModelConfig config = preset("nano");
  for (RingGeometry ring : kGeometries) {
    ring.select = GlobalSelect::kTopPages;
    ring.top_pages_factor = 1;
    config.ring = ring;
    for (int64_t t = 0; t < 300; ++t) {
      int64_t log2 = 0;
      while ((int64_t{1} << log2) <= ring.chunk(t)) ++log2;  // 2^log2 >= chunk + 1
      ASSERT_EQ(visible_keys(config, AttentionKind::kRing, t, 300), count_visible(ring, t, log2))
          << "window " << ring.window << ", stride " << ring.stride << ", position " << t;
    }
  }
}

TEST(VisibleKeys, BothWaysTheBandGoesRoundTheRing) {
  ModelConfig config = preset("nano");
  config.attention_mode = AttentionMode::kBidirectional;
  EXPECT_EQ(visible_keys(config, AttentionKind::kFull, 3, 700), 700);
  for (const RingGeometry& ring : kGeometries) {
    config.ring = ring;
    for (const int64_t tokens : {1, 15, 16, 17, 47, 80, 81, 95, 96, 200}) {
      for (int64_t t = 0; t < tokens; ++t) {
        ASSERT_EQ(visible_keys(config, AttentionKind::kRing, t, tokens), count_visible_both_ways(ring, t, tokens))
            << "window " << ring.window << ", stride " << ring.stride << ", position " << t << " of " << tokens;
      }
    }
  }
}

TEST(VisibleKeys, SinksAndPagesTogetherNeverExceedAllKeys) {
  ModelConfig config = preset("nano");
  config.ring = {.window = 4, .stride = 4, .global_ratio = 1, .sink_tokens = 4};
  for (int64_t t = 0; t < 50; ++t) EXPECT_EQ(visible_keys(config, AttentionKind::kRing, t, 50), t + 1);
}

TEST(AttentionPairs, GlobalTokensSeeAllBothWays) {
  ModelConfig config = preset("nano");
  config.attention_mode = AttentionMode::kBidirectional;
  config.ring = {.window = 4, .stride = 4, .global_ratio = 0.25};
  // 5 chunks, the last of 2 tokens; bands of 3 chunks, pages of 1. Band and pages outside:
  //   chunk 0 sees 4, 0, 1: 10 and 2; 1: 12 and 1; 2: 12 and 1; 3: 10 and 2; 4: 10 and 2.
  // Of these the page tokens of chunks 0 to 3 see all 18 instead.
  const double others = 3 * 12 + 3 * 13 + 3 * 13 + 3 * 12 + 2 * 12;
  EXPECT_EQ(attention_pairs(config, AttentionKind::kRing, 18), others + 4 * 18);
  config.attention_mode = AttentionMode::kCausal;
  EXPECT_EQ(attention_pairs(config, AttentionKind::kFull, 18), 18 * 19 / 2);
}

TEST(ForwardMacs, AreCountedByHand) {
  ModelConfig config = preset("tiny");  // sequence 256 = one chunk: every layer sees all before
  const int64_t linear = 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64);
  const int64_t router = 2 * 64, head = 512 * 64;
  const int64_t attention = 2 * (100 * 101 / 2) * 2 * 64;  // layers, keys, q k and p v, query size
  EXPECT_EQ(forward_macs(config, 100), static_cast<double>(100 * (linear + router + head) + attention));
}

TEST(CacheEntries, AreTheArticlesAt40K) {
  const ModelConfig config = preset("nano");
  // (m + 1) s + g n / s = 768 + 13 * 160, and the sinks.
  EXPECT_EQ(cache_entries(config, AttentionKind::kRing, 40960), 768 + 13 * 160 + 4);
  EXPECT_EQ(cache_entries(config, AttentionKind::kFull, 40960), 40960);
}

TEST(CacheEntries, TopPagesKeepAMeanKeyOfEachPage) {
  ModelConfig config = preset("nano");
  config.ring.select = GlobalSelect::kTopPages;
  EXPECT_EQ(cache_entries(config, AttentionKind::kRing, 40960), 768 + 13 * 160 + 4 + 160 / 2);
  config.ring.global_ratio = 0;
  EXPECT_EQ(cache_entries(config, AttentionKind::kRing, 40960), 768 + 4);
}

TEST(CacheEntries, BothWaysNothingIsKept) {
  ModelConfig config = preset("nano");
  config.attention_mode = AttentionMode::kBidirectional;
  EXPECT_EQ(cache_bytes(config, 40960, 2), 0);
}

TEST(CacheBytes, CountKeysAndValuesOfEveryLayer) {
  ModelConfig config = preset("nano");
  config.attention.assign(6, AttentionKind::kFull);
  EXPECT_EQ(cache_bytes(config, 1000, 2), 6 * 1000 * 2 * 64 * 2 * 2);
}

}  // namespace
}  // namespace ringflash
