// Runs our kernels on libtorch's own threads, so that a training process has one pool.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#include "base/executor.h"

namespace ringflash {

class TorchExecutor final : public Executor {
 public:
  void for_each(int64_t count, FunctionRef<void(int64_t)> task) override {
    // Tasks are handed out one by one: a thread that is held up leaves its share to the others.
    std::atomic<int64_t> next = 0;
    at::parallel_for(0, std::min<int64_t>(count, concurrency()), 1, [&](int64_t, int64_t) {
      for (int64_t i = next++; i < count; i = next++) task(i);
    });
  }
  int concurrency() const override { return at::get_num_threads(); }
};

}  // namespace ringflash
