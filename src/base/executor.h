// Who runs the pieces of a parallel loop: the runtime's thread pool, libtorch's threads, or the caller alone.
#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/flush_denormals.h"

namespace ringflash {

/// A borrowed callable, valid while the call it is passed to lasts.
template <typename Signature>
class FunctionRef;

template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f)  // NOLINT: meant to convert
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class Executor {
 public:
  virtual ~Executor() = default;

  /// Calls task(index) once for each index in [0, count), on any thread, and returns when all are done.
  /// What a task writes must depend on its index alone, so that results do not depend on the schedule.
  virtual void for_each(int64_t count, FunctionRef<void(int64_t index)> task) = 0;

  /// How many tasks can run at once.
  virtual int concurrency() const = 0;
};

/// Runs everything in the calling thread.
class SerialExecutor final : public Executor {
 public:
  void for_each(int64_t count, FunctionRef<void(int64_t)> task) override {
    const FlushDenormals flush;
    for (int64_t i = 0; i < count; ++i) task(i);
  }
  int concurrency() const override { return 1; }
};

}  // namespace ringflash
