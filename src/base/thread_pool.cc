#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/flush_denormals.h"

namespace ringflash {
namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waiting first spins, long enough to bridge the gaps between the loops of a decode step; then gives the processor
// away, for whom we wait may need it; then (a worker without work) sleeps, so as not to burn an idle core.
constexpr int kSpins = 2000;
constexpr int kYields = 500;

/// One round of waiting, the `round`-th in a row.
inline void pause_or_yield(int round) {
  if (round < kSpins) {
    relax();
  } else {
    std::this_thread::yield();
  }
}

}  // namespace

int usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};
  std::atomic<int> sleeping{0};
  std::atomic<bool> stopping{false};

  // One loop at a time. `task` and `count` stay as they are until `done` reaches `count`, so whoever has taken an
  // index may read them; a worker that wakes too late finds nothing left and nobody waits for it.
  const FunctionRef<void(int64_t)>* task = nullptr;
  int64_t count = 0;
  std::atomic<int64_t> left{0};
  std::atomic<int64_t> done{0};

  void work() {
    int64_t seen = left.load(std::memory_order_acquire);
    while (seen > 0) {
      if (!left.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel)) continue;
      (*task)(count - seen);
      done.fetch_add(1, std::memory_order_release);
      seen = left.load(std::memory_order_acquire);
    }
  }

  void wait_for(uint64_t seen) {
    for (int round = 0; round < kSpins + kYields; ++round) {
      if (generation.load(std::memory_order_acquire) != seen || stopping) return;
      pause_or_yield(round);
    }
    std::unique_lock lock(mutex);
    sleeping.fetch_add(1);
    wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen || stopping; });
    sleeping.fetch_sub(1);
  }

  void run_worker() {
    const FlushDenormals flush;
    uint64_t seen = 0;
    while (true) {
      wait_for(seen);
      if (stopping) return;
      seen = generation.load(std::memory_order_acquire);
      work();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  RF_CHECK(threads >= 0);
  if (threads == 0) threads = usable_processors();
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([state = state_.get()] { state->run_worker(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::concurrency() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::for_each(int64_t count, FunctionRef<void(int64_t)> task) {
  const FlushDenormals flush;
  State& s = *state_;
  if (count <= 1 || s.workers.empty()) {
    for (int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  s.task = &task;
  s.count = count;
  s.done.store(0, std::memory_order_relaxed);
  s.left.store(count, std::memory_order_release);
  {
    // Under the mutex, so that a worker about to sleep cannot miss it.
    std::lock_guard lock(s.mutex);
    s.generation.fetch_add(1, std::memory_order_release);
  }
  if (s.sleeping.load() > 0) s.wake.notify_all();
  s.work();
  for (int round = 0; s.done.load(std::memory_order_acquire) < count; round = std::min(round + 1, kSpins)) {
    pause_or_yield(round);
  }
}

}  // namespace ringflash
