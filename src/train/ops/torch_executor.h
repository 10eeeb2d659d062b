// Runs our kernels on libtorch's own threads, so that a training process has one pool.
#pragma once

#include <ATen/Parallel.h>

#include "base/executor.h"

namespace ringflash {

class TorchExecutor final : public Executor {
 public:
  void for_each(int64_t count, FunctionRef<void(int64_t)> task) override {
    at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) task(i);
    });
  }
  int concurrency() const override { return at::get_num_threads(); }
};

}  // namespace ringflash
