// The runtime's one thread pool.
#pragma once

#include <memory>

#include "base/executor.h"

namespace ringflash {

/// Processors this process may run on, by its affinity mask.
int usable_processors();

/// A fixed set of threads that wait briefly in a spin, then sleep. for_each must not be called from two threads
/// at once, nor from inside a task. Tasks run with denormals flushed to zero (flush_denormals.h).
class ThreadPool final : public Executor {
 public:
  /// `threads` counts the caller too; 0 means one per processor this process may use.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool() override;

  void for_each(int64_t count, FunctionRef<void(int64_t)> task) override;
  int concurrency() const override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ringflash
