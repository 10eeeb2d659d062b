// Every shape and geometry against the definition.
#include "kernels/ring_attention.h"

#include <gtest/gtest.h>

#include <string>

#include "kernels/attention_batch.h"

namespace ringflash::testing {
namespace {

using kernels::AttentionShape;

TEST(RingAttention, MatchesTheDefinitionAroundEveryEdge) {
  for (const int64_t n : {1, 2, 31, 32, 33, 64, 95, 97, 200}) {
    SCOPED_TRACE("n = " + std::to_string(n));
    expect_matches_definition(make_batch(small_shape(), {0, n}));
  }
}

TEST(RingAttention, MatchesTheDefinitionAtDefaultWindow) {
  AttentionShape shape = small_shape();
  shape.heads = 1;
  shape.key_value_heads = 1;
  shape.ring = RingGeometry{};
  expect_matches_definition(make_batch(shape, {0, 1000}));
}

TEST(RingAttention, MatchesTheDefinitionAtEveryHeadDimension) {
  AttentionShape shape = small_shape();
  shape.heads = 2;
  shape.key_value_heads = 1;
  shape.ring = RingGeometry{};
  for (const int64_t head_dim : {32, 64, 80, 128, 256}) {
    SCOPED_TRACE("head_dim = " + std::to_string(head_dim));
    shape.head_dim = head_dim;
    const int64_t s = shape.ring.stride, w = shape.ring.window;
    for (const int64_t n : {int64_t{1}, int64_t{2}, s - 1, s, s + 1})
      expect_matches_definition(make_batch(shape, {0, n}));
    if (head_dim != 80) continue;  // the longer ones at one dimension: the definition is slow
    shape.heads = 1;
    for (const int64_t n : {w, w + s - 1, w + s + 1}) expect_matches_definition(make_batch(shape, {0, n}));
    shape.heads = 2;
  }
}

TEST(RingAttention, MatchesTheDefinitionForEveryGeometry) {
  struct Case {
    const char* name;
    RingGeometry ring;
    int64_t tokens;
  };
  const Case cases[] = {
      {"no pages, sinks only", {.window = 16, .stride = 8, .global_ratio = 0.0, .sink_tokens = 4}, 70},
      {"neither pages nor sinks", {.window = 16, .stride = 8, .global_ratio = 0.0, .sink_tokens = 0}, 70},
      {"pages without sinks", {.window = 16, .stride = 8, .global_ratio = 0.3, .sink_tokens = 0}, 70},
      {"whole chunks as pages", {.window = 16, .stride = 8, .global_ratio = 1.0, .sink_tokens = 8}, 70},
      {"stride 1", {.window = 3, .stride = 1, .global_ratio = 0.5, .sink_tokens = 1}, 20},
      {"window of one stride", {.window = 16, .stride = 16, .global_ratio = 0.2, .sink_tokens = 4}, 90},
      {"window of four strides", {.window = 32, .stride = 8, .global_ratio = 0.2, .sink_tokens = 4}, 90},
      {"odd stride", {.window = 22, .stride = 11, .global_ratio = 0.2, .sink_tokens = 4}, 90},
      {"rotated globals",
       {.window = 16, .stride = 8, .global_ratio = 0.3, .sink_tokens = 4, .global_rope = true},
       70},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    AttentionShape shape = small_shape();
    shape.head_dim = 10;
    shape.ring = c.ring;
    expect_matches_definition(make_batch(shape, {0, c.tokens}));
  }
}

TEST(RingAttention, HeadsAndGroupsOfEverySize) {
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {3, 3}, {4, 1}, {6, 2}}) {
    SCOPED_TRACE(std::to_string(heads) + " heads, " + std::to_string(kv_heads) + " KV heads");
    AttentionShape shape = small_shape();
    shape.heads = heads;
    shape.key_value_heads = kv_heads;
    shape.head_dim = 6;
    expect_matches_definition(make_batch(shape, {0, 140}));
  }
}

}  // namespace
}  // namespace ringflash::testing
