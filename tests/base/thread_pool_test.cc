#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace ringflash {
namespace {

TEST(ThreadPool, CallsEachIndexOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.concurrency(), threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(static_cast<size_t>(count));
      pool.for_each(count, [&](int64_t i) { calls[static_cast<size_t>(i)].fetch_add(1); });
      for (const auto& call : calls) ASSERT_EQ(call.load(), 1) << threads << " threads, " << count << " tasks";
    }
  }
}

TEST(ThreadPool, WhatTasksWroteIsThereAfterwards) {
  // Plain memory, rewritten by loop after loop: a worker that ran late, or twice, would show.
  ThreadPool pool(4);
  std::vector<int> values(5);
  for (int loop = 1; loop <= 5000; ++loop) {
    const auto count = static_cast<int64_t>(1 + loop % 5);
    pool.for_each(count, [&](int64_t i) { values[static_cast<size_t>(i)] = loop; });
    for (int64_t i = 0; i < count; ++i) ASSERT_EQ(values[static_cast<size_t>(i)], loop);
  }
}

TEST(ThreadPool, CountsTheProcessorsByDefault) { EXPECT_GE(ThreadPool().concurrency(), 1); }

}  // namespace
}  // namespace ringflash
