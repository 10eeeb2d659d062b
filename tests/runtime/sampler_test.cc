#include "runtime/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace ringflash {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// No truncation, no penalty, temperature 1: the softmax itself.
SamplingOptions plain() {
  SamplingOptions options;
  options.temperature = 1;
  options.top_k = 0;
  options.top_p = 1;
  return options;
}

std::vector<int64_t> draw_counts(const SamplingOptions& options, const std::vector<float>& logits, int draws,
                                 const std::vector<int32_t>& history = {}) {
  Sampler sampler(options);
  std::vector<int64_t> counts(logits.size());
  for (int i = 0; i < draws; ++i) ++counts.at(static_cast<size_t>(sampler.sample(logits, history)));
  return counts;
}

std::set<int32_t> drawn_ids(const SamplingOptions& options, const std::vector<float>& logits) {
  std::set<int32_t> ids;
  Sampler sampler(options);
  for (int i = 0; i < 4000; ++i) ids.insert(sampler.sample(logits, {}));
  return ids;
}

/// log of probabilities: softmax gives them back.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

/// Each count within 4 standard deviations of draws * p (each misses by chance once in 16,000; the seed is
/// fixed).
void expect_distribution(const std::vector<int64_t>& counts, const std::vector<double>& probabilities,
                         int draws) {
  ASSERT_EQ(counts.size(), probabilities.size());
  for (size_t i = 0; i < counts.size(); ++i) {
    const double p = probabilities[i];
    EXPECT_LE(std::abs(static_cast<double>(counts[i]) - draws * p), 4 * std::sqrt(draws * p * (1 - p)))
        << "id " << i << " with probability " << p << " came " << counts[i] << " times";
  }
}

std::vector<double> softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  for (const float x : logits) p.push_back(std::exp(x / temperature));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

TEST(Sampler, TemperatureZeroPicksTheFirstOfTheLikeliest) {
  SamplingOptions options;
  options.temperature = 0;
  Sampler sampler(options);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1, 3, 2, 3}, {}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-4, -3, -2}, {}), 2);
  EXPECT_EQ(sampler.sample(std::vector<float>{7}, {}), 0);
}

TEST(Sampler, DrawsFromTheSoftmaxAtEachTemperature) {
  const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 1.5f, -3.0f, 0.0f};
  constexpr int kDraws = 40000;
  for (const double temperature : {0.5, 1.0, 2.0}) {
    SamplingOptions options = plain();
    options.temperature = temperature;
    expect_distribution(draw_counts(options, logits, kDraws), softmax(logits, temperature), kDraws);
  }
}

TEST(Sampler, TopKKeepsExactlyTheKLikeliest) {
  const std::vector<float> logits = {0.1f, 0.4f, 0.2f, 0.4f, 0.3f, 0.2f};
  SamplingOptions options = plain();
  options.top_k = 1;
  EXPECT_EQ(drawn_ids(options, logits), (std::set<int32_t>{1}));  // a tie goes to the lower id
  options.top_k = 4;
  EXPECT_EQ(drawn_ids(options, logits), (std::set<int32_t>{1, 2, 3, 4}));
  options.top_k = 6;
  EXPECT_EQ(drawn_ids(options, logits).size(), 6u);
  options.top_k = 1000;
  EXPECT_EQ(drawn_ids(options, logits).size(), 6u);
}

TEST(Sampler, TopPKeepsTheSmallestSetThatReachesIt) {
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.15, 0.05, 0.3});
  SamplingOptions options = plain();
  const auto kept = [&](double top_p) {
    options.top_p = top_p;
    return drawn_ids(options, logits);
  };
  EXPECT_EQ(kept(1e-9), (std::set<int32_t>{1}));
  EXPECT_EQ(kept(0.39), (std::set<int32_t>{1}));
  EXPECT_EQ(kept(0.41), (std::set<int32_t>{1, 4}));
  EXPECT_EQ(kept(0.69), (std::set<int32_t>{1, 4}));
  EXPECT_EQ(kept(0.71), (std::set<int32_t>{1, 2, 4}));
  EXPECT_EQ(kept(0.94), (std::set<int32_t>{0, 1, 2, 4}));
  EXPECT_EQ(kept(0.96), (std::set<int32_t>{0, 1, 2, 3, 4}));
}

TEST(Sampler, TopPCountsWhatTopKLeft) {
  // Of the three likeliest (0.4, 0.3, 0.15) the first two hold 0.82: enough for 0.8, though not of the whole.
  SamplingOptions options = plain();
  options.top_k = 3;
  options.top_p = 0.8;
  const std::vector<float> logits = logits_of({0.1, 0.4, 0.15, 0.05, 0.3});
  EXPECT_EQ(drawn_ids(options, logits), (std::set<int32_t>{1, 4}));
  constexpr int kDraws = 40000;
  expect_distribution(draw_counts(options, logits, kDraws), {0, 4.0 / 7, 0, 0, 3.0 / 7}, kDraws);
}

TEST(Sampler, TopPOfALargeVocabularyIsExact) {
  // Ids shuffled by a stride; probability falls by rank, so the set is the first ranks that reach 0.9.
  constexpr int32_t kSize = 701;  // prime
  std::vector<float> logits(kSize);
  std::vector<int32_t> by_rank(kSize);
  for (int32_t rank = 0; rank < kSize; ++rank) {
    by_rank[rank] = static_cast<int32_t>(int64_t{rank} * 397 % kSize);
    logits[by_rank[rank]] = -0.01f * static_cast<float>(rank);
  }
  // Geometric with ratio r = exp(-0.01): (1 - r^kept) / (1 - r^701) reaches 0.9 at 229.5, so 230 ranks are
  // kept.
  SamplingOptions options = plain();
  options.top_p = 0.9;
  Sampler sampler(options);
  std::set<int32_t> ids;
  for (int i = 0; i < 12000; ++i) ids.insert(sampler.sample(logits, {}));
  // The least likely of the 230 has 0.11 %: missed by 12000 draws with probability 2e-6.
  EXPECT_EQ(ids, std::set<int32_t>(by_rank.begin(), by_rank.begin() + 230));
}

TEST(Sampler, SameSeedSameDraws) {
  const std::vector<float> logits(1000, 0.0f);
  const auto draws = [&](uint64_t seed) {
    SamplingOptions options = plain();
    options.seed = seed;
    Sampler sampler(options);
    std::vector<int32_t> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(sampler.sample(logits, {}));
    return ids;
  };
  EXPECT_EQ(draws(1), draws(1));
  EXPECT_NE(draws(1), draws(2));
}

TEST(Sampler, RepetitionPenaltyDividesPositiveAndMultipliesNegativeLogits) {
  SamplingOptions options = plain();
  options.repetition_penalty = 2;
  const std::vector<float> logits = {1.0f, 1.0f, -1.0f, -1.0f};
  const std::vector<int32_t> history = {2, 0, 0};  // seen twice counts once
  constexpr int kDraws = 40000;
  expect_distribution(draw_counts(options, logits, kDraws, history), softmax({0.5f, 1.0f, -2.0f, -1.0f}, 1),
                      kDraws);
}

TEST(Sampler, RepetitionPenaltyForgetsWhatIsBehindTheWindow) {
  SamplingOptions options;
  options.temperature = 0;
  options.repetition_penalty = 4;
  options.repetition_window = 2;
  Sampler sampler(options);
  const std::vector<float> logits = {3, 2, 1};
  EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{0, 2, 2}), 0);
  EXPECT_EQ(sampler.sample(logits, std::vector<int32_t>{2, 0, 2}), 1);
}

TEST(Sampler, NanAndInfiniteLogitsAreRankedNotTrusted) {
  for (const double temperature : {0.0, 1.0}) {
    SamplingOptions options = plain();
    options.temperature = temperature;
    options.repetition_penalty = 1.5;
    Sampler sampler(options);
    const std::vector<int32_t> history = {0, 1};
    EXPECT_EQ(sampler.sample(std::vector<float>{kNan, -kInfinity, -5}, history), 2);
    EXPECT_EQ(sampler.sample(std::vector<float>{kNan, 1, kInfinity}, history), 2);
    EXPECT_EQ(sampler.sample(std::vector<float>{kNan, kNan, -kInfinity}, history), 0);
  }
}

TEST(Sampler, NeverDrawsWhatHasNoProbability) {
  const std::vector<float> logits = {-kInfinity, 0, kNan, 0, -kInfinity};
  EXPECT_EQ(drawn_ids(plain(), logits), (std::set<int32_t>{1, 3}));
}

TEST(Sampler, VerySmallTemperaturesAreGreedy) {
  SamplingOptions options = plain();
  options.temperature = 5e-324;
  EXPECT_EQ(drawn_ids(options, {1.0f, 1.0001f, -2.0f}), (std::set<int32_t>{1}));
}

TEST(SamplingOptions, RangesAreCheckedAndNamed) {
  const auto message = [](auto change) {
    SamplingOptions options;
    change(options);
    const Status status = validate(options);
    return status ? std::string() : status.error().message;
  };
  EXPECT_EQ(message([](SamplingOptions&) {}), "");
  for (const double bad : {-0.1, std::nan(""), HUGE_VAL}) {
    EXPECT_NE(message([&](SamplingOptions& o) { o.temperature = bad; }).find("temperature"),
              std::string::npos);
  }
  for (const double bad : {0.0, -1.0, 1.001, std::nan("")}) {
    EXPECT_NE(message([&](SamplingOptions& o) { o.top_p = bad; }).find("top-p"), std::string::npos);
  }
  for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_NE(message([&](SamplingOptions& o) { o.repetition_penalty = bad; }).find("repetition-penalty"),
              std::string::npos);
  }
  EXPECT_NE(message([](SamplingOptions& o) { o.top_k = -1; }).find("top-k"), std::string::npos);
  EXPECT_NE(message([](SamplingOptions& o) { o.repetition_window = -1; }).find("repetition-window"),
            std::string::npos);
}

}  // namespace
}  // namespace ringflash
