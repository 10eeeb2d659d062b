#include "runtime/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "base/thread_pool.h"
#include "expect_close.h"
#include "kernels/kernels.h"
#include "model/counts.h"
#include "naive_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::expect_close;
using testing::expect_same_bits;
using testing::TinyModelOptions;

constexpr int64_t kTokens = 100;

std::vector<int32_t> random_ids(int64_t count, int64_t vocabulary, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocabulary)));
  return ids;
}

const auto no_logits = [](int64_t, int64_t, const float*) {
  ADD_FAILURE() << "logits that nobody asked for";
};

/// A tiny model on disk, loaded, with its weights.
struct Loaded {
  explicit Loaded(const TinyModelOptions& options = {})
      : weights(testing::write_tiny_gguf(directory / "tiny.gguf", options)),
        model(Model::load(directory / "tiny.gguf").value()) {}

  /// All logits of ids appended in pieces of the given size.
  std::vector<float> logits(const std::vector<int32_t>& ids, size_t piece, Executor& executor) const {
    Session session(model, executor);
    std::vector<float> all;
    const auto take = [&](int64_t first, int64_t count, const float* values) {
      EXPECT_EQ(first * model.config().vocab_size, static_cast<int64_t>(all.size()));
      all.insert(all.end(), values, values + count * model.config().vocab_size);
    };
    for (std::span<const int32_t> rest = ids; !rest.empty();) {
      const auto now = rest.first(std::min(piece, rest.size()));
      EXPECT_TRUE(session.append(now, LogitsFor::kAll, take).ok());
      rest = rest.subspan(now.size());
    }
    EXPECT_EQ(session.position(), static_cast<int64_t>(ids.size()));
    return all;
  }

  std::vector<float> logits(const std::vector<int32_t>& ids, size_t piece = kTokens) const {
    SerialExecutor serial;
    return logits(ids, piece, serial);
  }

  testing::TemporaryDirectory directory;
  testing::TinyWeights weights;
  Model model;
};

/// Everything a config can vary in what a session does.
std::vector<TinyModelOptions> variants() {
  std::vector<TinyModelOptions> all(14);
  all[1].config.ring.global_rope = true;
  all[2].config.tie_word_embeddings = false;
  all[3].matrices = GgufType::kBF16;
  all[4].matrices = GgufType::kQ8_0;
  all[5].config.ring.global_ratio = 0;  // no routers, sinks alone
  all[6].config.ring.sink_tokens = 0;
  all[7].config.ring.sink_tokens = 8;  // the whole first chunk
  all[7].config.ring.global_ratio = 1;
  all[8].config.attention.assign(4, AttentionKind::kFull);
  for (const size_t i : {9, 10}) {
    all[i].config.ring.select = GlobalSelect::kTopPages;
    all[i].config.ring.top_pages_factor = 1;
    all[i].config.ring.top_pages_run = 4;
  }
  all[10].config.ring.global_rope = true;
  all[10].config.ring.top_pages_run = 1;
  all[11].matrices = GgufType::kQ4_0;
  all[12].matrices = GgufType::kQ4_1;
  all[13].matrices = GgufType::kQ5_0;
  for (const char* architecture : testing::kImportedArchitectures) {
    all.emplace_back().config = testing::tiny_imported_config(architecture);
  }
  for (const GgufType matrices : {GgufType::kF32, GgufType::kQ8_0}) {
    TinyModelOptions& shared = all.emplace_back();
    shared.config.sharing = {.group_size = 3, .rank = 5};  // layers 0 to 2, and layer 3 by itself
    shared.matrices = matrices;
  }
  for (size_t i = 0; i < all.size(); ++i) all[i].seed = i + 1;
  return all;
}

// Sums of 64 to 96 terms in fp32: each of the 28 matmuls errs by about 1e-6 of activations near 1, at worst
// 1e-5 (docs/numerics.md), and logits are of the order of 1.
constexpr testing::Tolerance kLogitTolerance = {.absolute = 2e-5};

// Where attention takes bf16, each of the 4 layers rounds its queries, keys, values and weights: 16
// independent errors of a deviation of 2^-8 / sqrt(3) of what is rounded. Twice that, because now and then
// another token makes it into a page, or another page is chosen.
constexpr double kBf16Deviation = 2 * 4 * 0x1p-8 / 1.7320508;

// Where weights are quantised, the inputs of 29 products are rounded to 8 bits: each by 1/127 of the largest of 64, half
// of it at most and 1/sqrt(3) of that in the mean, and the largest of 64 is about 2.5 times their mean. Independent, they
// add up to sqrt(29) of one; logits are of the order of 1. Twice that for pages chosen otherwise, as above.
constexpr double kInt8Deviation = 2 * 5.39 * 2.5 / 127 / 2 / 1.7320508;

void expect_logits(const std::vector<float>& actual, const std::vector<double>& expected, bool quantised = false) {
  if (kernels::table().key_type == kernels::KeyType::kF32 && !quantised)
    return expect_close(actual, expected, kLogitTolerance);
  ASSERT_EQ(actual.size(), expected.size());
  double squares = 0;
  for (size_t i = 0; i < actual.size(); ++i)
    squares += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
  EXPECT_LT(std::sqrt(squares / static_cast<double>(actual.size())), quantised ? kBf16Deviation + kInt8Deviation : kBf16Deviation);
}

TEST(Session, MatchesThePlainModel) {
  for (const TinyModelOptions& options : variants()) {
    SCOPED_TRACE("variant " + std::to_string(options.seed - 1));
    const Loaded loaded(options);
    const std::vector<int32_t> ids = random_ids(kTokens, options.config.vocab_size, options.seed);
    const bool quantised = gguf_block_elements(options.matrices) > 1;
    expect_logits(loaded.logits(ids), testing::naive_logits(options.config, loaded.weights, ids), quantised);
  }
}

// Where many tokens are summed in another order than few, pieces are compared with those on their side of the threshold; where
// they are rounded less, within a tolerance.
TEST(Session, PiecesOfAnySizeGiveTheSameBits) {
  ThreadPool threads(3);
  const kernels::Table& table = kernels::table();
  for (const TinyModelOptions& options : variants()) {
    const Loaded loaded(options);
    const std::vector<int32_t> ids = random_ids(kTokens, options.config.vocab_size, options.seed);
    const std::vector<float> whole = loaded.logits(ids), one_by_one = loaded.logits(ids, 1);
    const bool rounds_less = table.wide != nullptr && options.matrices != GgufType::kF32;
    const bool sums_otherwise = table.least_panel_tokens > 0 && gguf_block_elements(options.matrices) > 1;
    const auto expect_alike = [&](const std::vector<float>& pieces, size_t piece) {
      SCOPED_TRACE("variant " + std::to_string(options.seed - 1) + ", pieces of " + std::to_string(piece));
      const bool few = piece < static_cast<size_t>(table.least_panel_tokens);
      if (rounds_less) return expect_logits(pieces, {whole.begin(), whole.end()}, /*quantised=*/true);
      expect_same_bits(pieces, few && sums_otherwise ? one_by_one : whole);
    };
    expect_alike(loaded.logits(ids, 3), 3);
    for (const size_t piece : {7, 10, 64}) expect_alike(loaded.logits(ids, piece, threads), piece);
    if (!rounds_less && !sums_otherwise) expect_same_bits(one_by_one, whole);
    expect_logits(one_by_one, {whole.begin(), whole.end()}, /*quantised=*/rounds_less || sums_otherwise);
  }
}

/// Logits of the last eight of 640 tokens, one by one.
std::vector<float> last_logits(const Loaded& loaded, Executor& executor) {
  Session session(loaded.model, executor);
  const std::vector<int32_t> ids = random_ids(640, loaded.model.config().vocab_size, 9);
  EXPECT_TRUE(session.append(std::span(ids).first(632), LogitsFor::kNone, no_logits).ok());
  std::vector<float> all;
  for (size_t i = 632; i < ids.size(); ++i) {
    EXPECT_TRUE(session
                    .append(std::span(ids).subspan(i, 1), LogitsFor::kLast,
                            [&](int64_t, int64_t, const float* y) {
                              all.insert(all.end(), y, y + loaded.model.config().vocab_size);
                            })
                    .ok());
  }
  return all;
}

// One KV head and another number of them than threads: their keys are shared.
TEST(Session, ThreadsThatShareKeysChangeNoBit) {
  for (const int64_t heads : {1, 2}) {
    for (const AttentionKind kind : {AttentionKind::kFull, AttentionKind::kRing}) {
      TinyModelOptions options;
      options.config.num_key_value_heads = heads;
      options.config.head_dim = 32;
      options.config.attention.assign(4, kind);
      options.config.max_position_embeddings = 1024;
      const Loaded loaded(options);
      ASSERT_GT(632 * loaded.model.config().key_value_size(), 16384);  // few keys are not shared
      SerialExecutor serial;
      const std::vector<float> alone = last_logits(loaded, serial);
      for (const int count : {2, 3, 5}) {
        ThreadPool threads(count);
        expect_same_bits(last_logits(loaded, threads), alone);
      }
    }
  }
}

void expect_no_look_ahead(const TinyModelOptions& options) {
  const Loaded loaded(options);
  std::vector<int32_t> ids = random_ids(kTokens, 288, 1);
  const std::vector<float> before = loaded.logits(ids);
  for (const int64_t changed : {99, 60, 8, 7}) {
    ids[static_cast<size_t>(changed)] ^= 1;
    const std::vector<float> after = loaded.logits(ids);
    const auto earlier = static_cast<size_t>(changed * 288);
    EXPECT_EQ(0, std::memcmp(before.data(), after.data(), earlier * sizeof(float))) << changed;
    EXPECT_NE(0, std::memcmp(before.data() + earlier, after.data() + earlier, 288 * sizeof(float)))
        << changed;
  }
}

TEST(Session, DoesNotLookAhead) {
  expect_no_look_ahead({});
  expect_no_look_ahead(variants()[9]);
}

TEST(Session, LastLogitsAreTheLastOfAll) {
  const Loaded loaded;
  const std::vector<int32_t> ids = random_ids(21, 288, 5);
  const std::vector<float> all = loaded.logits(ids);
  SerialExecutor serial;
  Session session(loaded.model, serial);
  ASSERT_TRUE(session.append(std::span(ids).first(4), LogitsFor::kNone, no_logits).ok());
  int calls = 0;
  ASSERT_TRUE(session
                  .append(std::span(ids).subspan(4), LogitsFor::kLast,
                          [&](int64_t first, int64_t count, const float* y) {
                            ++calls;
                            EXPECT_EQ(first, 20);
                            EXPECT_EQ(count, 1);
                            EXPECT_EQ(0, std::memcmp(y, all.data() + 20 * 288, 288 * sizeof(float)));
                          })
                  .ok());
  EXPECT_EQ(calls, 1);
  ASSERT_TRUE(session.append({}, LogitsFor::kLast, no_logits).ok());
}

TEST(Session, RefusesBadIdsAndFullContextsWithoutAppending) {
  const Loaded loaded;
  SerialExecutor serial;
  Session session(loaded.model, serial, 10);
  EXPECT_EQ(session.context(), 10);
  const auto message = [&](const std::vector<int32_t>& ids) {
    const Status status = session.append(ids, LogitsFor::kLast, no_logits);
    return status.ok() ? "" : status.error().message;
  };
  EXPECT_EQ(message({1, 2, 288}), "token 2: expected an id from 0 to 287, found 288");
  EXPECT_EQ(message({-1}), "token 0: expected an id from 0 to 287, found -1");
  EXPECT_EQ(message(std::vector<int32_t>(11, 5)), "the prompt has 11 tokens, the context holds 10");
  EXPECT_EQ(session.position(), 0);
  ASSERT_TRUE(session.append(std::vector<int32_t>(9, 5), LogitsFor::kNone, no_logits).ok());
  EXPECT_EQ(message({5, 5}), "2 tokens cannot follow the 9 so far, the context holds 10");
  EXPECT_EQ(session.position(), 9);
  ASSERT_TRUE(session.append(std::vector<int32_t>(1, 5), LogitsFor::kNone, no_logits).ok());
  EXPECT_EQ(Session(loaded.model, serial).context(), 256);
}

TEST(Session, RingLayersStopGrowing) {
  TinyModelOptions options;
  options.config.attention.assign(4, AttentionKind::kRing);
  options.config.max_position_embeddings = 4096;
  const Loaded loaded(options);
  SerialExecutor serial;
  Session session(loaded.model, serial);
  const std::vector<int32_t> ids = random_ids(600, 288, 3);
  ASSERT_TRUE(session.append(ids, LogitsFor::kNone, no_logits).ok());
  ModelConfig stored = options.config;
  stored.head_dim = kernels::padded_dim(stored.head_dim);
  const int64_t number = kernels::table().key_type == kernels::KeyType::kBf16 ? 2 : 4;
  const int64_t needed = cache_bytes(stored, 600, number);
  // Ring and pages end within a block each.
  const int64_t blocks =
      2 * kernels::kBlockKeys * 2 * stored.num_hidden_layers * stored.key_value_size() * number;
  EXPECT_GE(session.cache_bytes(), needed * 9 / 10);            // sinks that pages keep are not stored twice
  EXPECT_LE(session.cache_bytes(), needed * 13 / 10 + blocks);  // rows grow by a quarter; biases come on top
}

}  // namespace
}  // namespace ringflash
