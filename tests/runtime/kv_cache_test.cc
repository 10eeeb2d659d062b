#include "runtime/kv_cache.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "base/rng.h"
#include "kernels/ring_attention.h"

namespace ringflash {
namespace {

/// A token as it shows in the cache: its key and value carry its position and whether the key was rotated.
constexpr int64_t kHeadDim = 2;
constexpr float kRotated = 1, kPlain = 2;

ModelConfig config_of(const RingGeometry& ring) {
  ModelConfig config;
  config.head_dim = kHeadDim;
  config.ring = ring;
  return config;
}

/// The cache beside a list of all scores, filled piece by piece.
class Sequence {
 public:
  Sequence(const RingGeometry& ring, AttentionKind kind, int64_t context)
      : ring_(ring), kind_(kind), cache_(config_of(ring), kind, context, kernels::KeyType::kF32) {
    Rng rng(5);
    for (int64_t t = 0; t < context; ++t) {
      scores_.push_back(static_cast<float>(rng.below(4)));  // few values, so that ties abound
      k_.insert(k_.end(), {static_cast<float>(t), kPlain});
      k_rotated_.insert(k_rotated_.end(), {static_cast<float>(t), kRotated});
      v_.insert(v_.end(), {static_cast<float>(-t), 7});
    }
  }

  void append(int64_t count) {
    const bool routed = kind_ == AttentionKind::kRing && ring_.page_tokens() > 0;
    const int64_t at = end_ * kHeadDim;
    cache_.append({.first = end_,
                   .count = count,
                   .k = k_.data() + at,
                   .k_rotated = k_rotated_.data() + at,
                   .v = v_.data() + at,
                   .stride = kHeadDim,
                   .router = routed ? scores_.data() + end_ : nullptr,
                   .router_stride = 1});
    std::vector<float> q;
    for (int64_t t = end_; t < end_ + count; ++t)
      q.insert(q.end(), {wants_late_pages(t) ? 1.0f : -1.0f, 0.0f});
    cache_.choose_pages({.first = end_,
                         .count = count,
                         .q = q.data(),
                         .q_rotated = q.data(),
                         .token_stride = kHeadDim,
                         .heads = 1});
    end_ += count;
  }

  /// Checks what the query at position t sees against the definition.
  void check(int64_t first, int64_t t) const {
    std::vector<kernels::KeySpan> spans;
    cache_.visible(first, spans);
    std::map<int64_t, bool> seen;  // position -> whether by a global span
    for (const kernels::KeySpan& span : spans) {
      for (int64_t i = span.begin; i < std::min(span.end, span.visible + t - first); ++i) {
        const float* k = static_cast<const float*>(span.rows.k) + i * kernels::padded_dim(kHeadDim);
        const float* v = static_cast<const float*>(span.rows.v) +
                         i / kernels::kBlockKeys * span.rows.v_block + i % kernels::kBlockKeys;
        const auto u = static_cast<int64_t>(k[0]);
        const bool global = is_global_only(u, t);
        // A sink is a key of its own, and dead where a chosen page holds it too.
        if (span.bias && span.bias[i] == -std::numeric_limits<float>::infinity()) {
          ASSERT_LT(u, ring_.sink_tokens);
          continue;
        }
        ASSERT_TRUE(seen.emplace(u, global).second) << "position " << u << " twice for query " << t;
        ASSERT_EQ(v[0], static_cast<float>(-u));
        ASSERT_EQ(v[span.rows.v_row], 7);
        ASSERT_EQ(k[1], global && !ring_.global_rope ? kPlain : kRotated);
        ASSERT_EQ(span.global, global && !ring_.global_rope);
        const bool biased = global && ring_.page_tokens() > 0;
        ASSERT_EQ(span.bias != nullptr, biased);
        if (biased) {
          ASSERT_EQ(span.bias[i], kernels::router_bias(scores_[static_cast<size_t>(u)]));
        }
      }
    }
    for (int64_t u = 0; u <= t; ++u) {
      ASSERT_EQ(seen.contains(u), !is_global_only(u, t) || is_kept(u, t))
          << "position " << u << " for query " << t;
    }
    ASSERT_TRUE(seen.empty() || seen.rbegin()->first <= t);
  }

 private:
  bool is_global_only(int64_t u, int64_t t) const {
    return kind_ == AttentionKind::kRing && ring_.chunk(u) < ring_.chunk(t) - ring_.band_chunks();
  }

  /// Keys grow with their position, so that a query picks the last pages or the first.
  bool wants_late_pages(int64_t t) const { return ring_.run_begin(t) / ring_.top_pages_run % 2 == 0; }

  bool is_chosen(int64_t page, int64_t t) const {
    if (ring_.select == GlobalSelect::kAll) return true;
    const int64_t pages = ring_.chunk(t) - ring_.band_chunks(),
                  budget = ring_.page_budget(ring_.chunk(t) + 1);
    return wants_late_pages(ring_.run_begin(t)) ? page >= pages - budget : page < budget;
  }

  bool is_kept(int64_t u, int64_t t) const {
    if (u < ring_.sink_tokens) return true;
    if (ring_.page_tokens() == 0 || !is_chosen(ring_.chunk(u), t)) return false;
    std::vector<int32_t> page(static_cast<size_t>(ring_.page_tokens()));
    kernels::select_page(scores_.data() + ring_.chunk(u) * ring_.stride, 1, ring_, page);
    return std::find(page.begin(), page.end(), u % ring_.stride) != page.end();
  }

  RingGeometry ring_;
  AttentionKind kind_;
  HeadCache cache_;
  std::vector<float> scores_, k_, k_rotated_, v_;
  int64_t end_ = 0;
};

void check_sequence(const RingGeometry& ring, AttentionKind kind, int64_t context, int64_t piece) {
  SCOPED_TRACE("stride " + std::to_string(ring.stride) + " window " + std::to_string(ring.window) +
               " pages of " + std::to_string(ring.page_tokens()) + " sinks " +
               std::to_string(ring.sink_tokens) + " piece " + std::to_string(piece));
  Sequence sequence(ring, kind, context);
  for (int64_t first = 0; first < context;) {
    const int64_t edge = kind == AttentionKind::kRing ? ring.stride - first % ring.stride : context;
    const int64_t count = std::min({piece, edge, context - first});
    sequence.append(count);
    for (int64_t t = first; t < first + count; ++t) {
      const int64_t run = ring.select == GlobalSelect::kTopPages ? std::max(first, ring.run_begin(t)) : first;
      sequence.check(run, t);
    }
    for (int64_t t = first; t < first + count; ++t) sequence.check(t, t);
    if (::testing::Test::HasFatalFailure()) return;
    first += count;
  }
}

TEST(HeadCache, RingLayersShowWhatTheDefinitionSays) {
  for (const RingGeometry& ring : {RingGeometry{16, 8, 0.25, 2, false}, RingGeometry{16, 8, 0.25, 2, true},
                                   RingGeometry{8, 8, 0.5, 0, false}, RingGeometry{24, 8, 1.0, 8, false},
                                   RingGeometry{6, 3, 0.0, 3, false}, RingGeometry{6, 3, 0.0, 0, false},
                                   RingGeometry{4, 1, 1.0, 1, true}, RingGeometry{5, 5, 0.2, 5, false}}) {
    for (const int64_t piece : {1, 2, 5, 8}) check_sequence(ring, AttentionKind::kRing, 77, piece);
  }
}

TEST(HeadCache, TopPagesShowWhatEachRunChooses) {
  for (const int64_t run : {1, 3, 4, 8}) {
    for (const double ratio : {0.0, 0.25, 1.0}) {
      RingGeometry ring{16, 8, ratio, 2, false};
      ring.select = GlobalSelect::kTopPages;
      ring.top_pages_factor = 1;
      ring.top_pages_run = run;
      for (const int64_t piece : {1, 2, 5, 8}) check_sequence(ring, AttentionKind::kRing, 205, piece);
    }
  }
}

TEST(HeadCache, ContextsShorterThanTheRing) {
  for (const int64_t context : {1, 7, 8, 20}) {
    check_sequence({16, 8, 0.25, 2, false}, AttentionKind::kRing, context, 8);
  }
}

TEST(HeadCache, FullLayersShowEverything) {
  for (const int64_t piece : {1, 10, 77}) check_sequence({}, AttentionKind::kFull, 77, piece);
}

TEST(HeadCache, GrowsWithWhatItHolds) {
  HeadCache cache(config_of({}), AttentionKind::kFull, int64_t{1} << 40, kernels::KeyType::kBf16);
  EXPECT_EQ(cache.bytes(), 0);
  const std::vector<float> row(kHeadDim, 1.0f);
  for (int64_t t = 0; t < 1000; ++t) {
    cache.append({.first = t,
                  .count = 1,
                  .k = row.data(),
                  .k_rotated = row.data(),
                  .v = row.data(),
                  .stride = kHeadDim,
                  .router = nullptr,
                  .router_stride = 0});
  }
  const int64_t exact = 1000 * 2 * kernels::padded_dim(kHeadDim) * static_cast<int64_t>(sizeof(bf16));
  EXPECT_GE(cache.bytes(), exact);
  EXPECT_LE(cache.bytes(), exact * 5 / 4);
}

}  // namespace
}  // namespace ringflash
