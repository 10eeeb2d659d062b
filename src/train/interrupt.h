// SIGINT and SIGTERM ask a long job to stop at the next good moment; a second one stops it at once.
#pragma once

namespace ringflash {

/// While alive, the first SIGINT or SIGTERM sets a flag and restores the default action for the next.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;
};

}  // namespace ringflash
