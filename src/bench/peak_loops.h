// Loops that do nothing but multiply and add in registers: what bench/peak.h measures. Internal to it.
#pragma once

#include <cstdint>
#include <vector>

namespace ringflash::bench {

struct PeakLoop {
  const char* instruction;    ///< "fp32_fma", "vdpbf16ps" or "tdpbf16ps"
  double flops_per_iteration;
  void (*run)(int64_t iterations);
};

/// fp32 with whatever vectors the baseline processor has.
PeakLoop portable_loop();

/// Those this x86 processor can run, fp32_fma first; empty without AVX2.
std::vector<PeakLoop> x86_loops();

}  // namespace ringflash::bench
