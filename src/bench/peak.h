// How fast this machine can multiply and add at most, measured in the same run as what is compared with it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"

namespace ringflash::bench {

struct Peak {
  std::string instruction;  ///< "fp32_fma", "vdpbf16ps" or "tdpbf16ps"
  double gflops = 0;        ///< of all threads together
};

/// Keeps the best of its samples: whatever disturbs one only makes it slower. Sampling in every round of a
/// measurement lets the clock be what it was then.
class PeakMeter {
 public:
  /// `executor` must outlive the meter.
  explicit PeakMeter(Executor& executor);

  /// Runs each of the machine's instructions for about 10 ms on all threads.
  void sample();

  const std::vector<Peak>& peaks() const { return peaks_; }
  /// FLOP per second of the instruction that a kernel table's attention is made of; 0 before any sample.
  double flops_for(std::string_view isa) const;

 private:
  Executor& executor_;
  std::vector<Peak> peaks_;
};

}  // namespace ringflash::bench
