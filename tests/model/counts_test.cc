#include "model/counts.h"

#include <gtest/gtest.h>

#include <set>

#include "model/presets.h"

namespace ringflash {
namespace {

ModelConfig preset(const char* name) {
  return preset_config(name).value();
}

/// The keys a query sees, collected one by one as the definition has it: its own chunk up to itself, the
/// chunks of its band, and of every chunk behind the page (here its last tokens, so that no sink is among
/// them) and the sinks.
size_t count_visible(const RingGeometry& ring, int64_t position) {
  std::set<int64_t> keys;
  for (int64_t key = 0; key <= position; ++key) {
    const bool local = ring.chunk(key) >= ring.chunk(position) - ring.window / ring.stride;
    const bool in_page = key % ring.stride >= ring.stride - ring.page_tokens();
    if (local || in_page || key < ring.sink_tokens) keys.insert(key);
  }
  return keys.size();
}

TEST(CountParameters, NanoIsCountedByHand) {
  const ParameterCounts counts = count_parameters(preset("nano"));
  // 6 layers of width 256: q and o 256*256, k and v 128*256, gate, up and down 768*256; a router of 2*256.
  EXPECT_EQ(counts.linear, 6 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 768 * 256));
  EXPECT_EQ(counts.embedding, 4096 * 256);
  EXPECT_EQ(counts.router, 6 * 2 * 256);
  EXPECT_EQ(counts.norm, 13 * 256);
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
    EXPECT_EQ(visible_keys(preset("nano"), AttentionKind::kFull, t), t + 1);
}

TEST(VisibleKeys, RingMatchesItsDefinition) {
  ModelConfig config = preset("nano");
  const RingGeometry geometries[] = {
      {.window = 32, .stride = 16, .global_ratio = 0.2, .sink_tokens = 3},
      {.window = 16, .stride = 16, .global_ratio = 0.5, .sink_tokens = 0},
      {.window = 8, .stride = 4, .global_ratio = 0, .sink_tokens = 4},
      {.window = 20, .stride = 5, .global_ratio = 0.3, .sink_tokens = 1},
      {.window = 6, .stride = 3, .global_ratio = 1, .sink_tokens = 0},
  };
  for (const RingGeometry& ring : geometries) {
    config.ring = ring;
    for (int64_t t = 0; t < 200; ++t) {
      ASSERT_EQ(visible_keys(config, AttentionKind::kRing, t), static_cast<int64_t>(count_visible(ring, t)))
          << "window " << ring.window << ", stride " << ring.stride << ", position " << t;
    }
  }
}

TEST(VisibleKeys, SinksAndPagesTogetherNeverExceedAllKeys) {
  ModelConfig config = preset("nano");
  config.ring = {.window = 4, .stride = 4, .global_ratio = 1, .sink_tokens = 4};
  for (int64_t t = 0; t < 50; ++t) EXPECT_EQ(visible_keys(config, AttentionKind::kRing, t), t + 1);
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

TEST(CacheBytes, CountKeysAndValuesOfEveryLayer) {
  ModelConfig config = preset("nano");
  config.attention.assign(6, AttentionKind::kFull);
  EXPECT_EQ(cache_bytes(config, 1000, 2), 6 * 1000 * 2 * 64 * 2 * 2);
}

}  // namespace
}  // namespace ringflash
