// Asking for memory while something else is computed.
#pragma once

#include "kernels/block_kernels.h"
#include "kernels/simd/vec.h"

namespace ringflash::kernels::RF_ISA {

/// Asks for all of a Soon in so many turns, a few lines each: more at once than a core can wait for would hold it up.
class SoonAsker {
 public:
  SoonAsker(const Soon& soon, int64_t turns) {
    for (int i = 0; i < 2; ++i) {
      parts_[i] = soon.parts[i];
      const int64_t lines = (parts_[i].count + kLine - 1) / kLine;
      step_[i] = turns > 0 ? (lines + turns - 1) / turns * kLine : 0;
    }
  }

  [[gnu::always_inline]] void turn() {
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
      const int64_t until = smaller(asked_[i] + step_[i], parts_[i].count);
      for (; asked_[i] < until; asked_[i] += kLine) __builtin_prefetch(parts_[i].begin + asked_[i], 0, 2);
    }
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(float);
  Soon::Part parts_[2];
  int64_t asked_[2] = {}, step_[2];
};

}  // namespace ringflash::kernels::RF_ISA
