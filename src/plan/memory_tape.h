// A record of memory taken and given back, in the order in which a program would.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

namespace ringflash {

class MemoryTape {
 public:
  /// What follows is part of `phase`.
  void enter(std::string phase) { phase_ = std::move(phase); }

  void take(int64_t bytes) {
    live_ += bytes;
    if (live_ <= peak_) return;
    peak_ = live_;
    peak_phase_ = phase_;
  }
  void give(int64_t bytes) { live_ -= bytes; }
  /// Taken and given back at once.
  void touch(int64_t bytes) {
    take(bytes);
    give(bytes);
  }

  int64_t live() const { return live_; }
  int64_t peak() const { return peak_; }
  /// The phase in which the most was taken.
  const std::string& peak_phase() const { return peak_phase_; }

 private:
  int64_t live_ = 0, peak_ = 0;
  std::string phase_, peak_phase_;
};

}  // namespace ringflash
