#include "bench/rounds.h"

#include <gtest/gtest.h>

namespace ringflash::bench {
namespace {

/// Takes the given seconds, one after the other, and writes its name down.
Contestant scripted(const std::string& name, std::vector<double> seconds, std::string& log, double estimate = 1) {
  return {.name = name,
          .run = [=, &log, i = size_t{0}]() mutable -> Result<double> {
            log += name;
            return seconds[i++ % seconds.size()];
          },
          .estimate = estimate};
}

TEST(Median, IsTheMiddle) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({9, 1, 5, 2}), 3.5);
}

TEST(Rounds, TakeTurnsAfterAWarmUp) {
  std::string log;
  const std::vector<Contestant> contestants = {scripted("a", {99, 4, 8, 6}, log), scripted("b", {99, 1, 4, 1}, log)};
  const auto timings =
      time_in_rounds(contestants, {.rounds = 3, .limit_seconds = 0}, [&](int round) { log += std::to_string(round); });
  ASSERT_TRUE(timings);
  EXPECT_EQ(log, "ab0ab1ab2ab");
  EXPECT_EQ(timings->at(0).seconds, (std::vector<double>{4, 8, 6}));
  EXPECT_EQ(timings->at(0).median(), 6);
  EXPECT_EQ(median_ratio(timings->at(0), timings->at(1)), 4);  // of 4, 2 and 6; the ratio of medians is 6
}

TEST(Rounds, TheSlowAreMeasuredLessOrNotAtAll) {
  std::string log;
  const std::vector<Contestant> contestants = {scripted("a", {1}, log, 1), scripted("b", {2}, log, 25),
                                               scripted("c", {3}, log, 61)};
  const auto timings = time_in_rounds(contestants, {.rounds = 4, .limit_seconds = 60}, [](int) {});
  ASSERT_TRUE(timings);
  EXPECT_EQ(log, "aababaa");  // b without a warm-up
  EXPECT_EQ(timings->at(1).seconds.size(), 2u);
  EXPECT_EQ(timings->at(2).median(), std::nullopt);
  EXPECT_EQ(timings->at(2).skipped, "would take 1m01s or so");
  EXPECT_EQ(median_ratio(timings->at(2), timings->at(0)), std::nullopt);
  EXPECT_EQ(median_ratio(timings->at(1), timings->at(0)), 2);
}

TEST(Rounds, AnErrorEndsThem) {
  std::string log;
  const Contestant broken{.name = "b", .run = []() -> Result<double> { return Error{"wrong result"}; }, .estimate = 1};
  const auto timings = time_in_rounds({scripted("a", {1}, log), broken}, {}, [](int) {});
  ASSERT_FALSE(timings);
  EXPECT_EQ(timings.error().message, "wrong result");
}

}  // namespace
}  // namespace ringflash::bench
