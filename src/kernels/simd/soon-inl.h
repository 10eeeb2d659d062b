// Asking for memory while something else is computed.
#pragma once

#include "kernels/block_kernels.h"

namespace ringflash::kernels::RF_ISA {

/// Asks for all of a Soon in so many turns, a few lines each: more at once than a core can wait for would hold it up.
class SoonAsker {
 public:
  SoonAsker(const Soon& soon, int64_t turns) {
    for (int i = 0; i < 2; ++i) {
      at_[i] = soon.parts[i].begin;
      end_[i] = at_[i] + soon.parts[i].count;
      const int64_t lines = (soon.parts[i].count + kLine - 1) / kLine;
      step_[i] = turns > 0 ? (lines + turns - 1) / turns * kLine : 0;
    }
  }

  [[gnu::always_inline]] void turn() {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const float* until = end_[i] - at_[i] < step_[i] ? end_[i] : at_[i] + step_[i];
      for (; at_[i] < until; at_[i] += kLine) __builtin_prefetch(at_[i], 0, 2);
    }
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(float);
  const float *at_[2], *end_[2];
  int64_t step_[2];
};

}  // namespace ringflash::kernels::RF_ISA
