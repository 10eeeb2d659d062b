#include "bench/peak.h"

#include <algorithm>
#include <cstdint>

#include "base/stopwatch.h"
#include "bench/peak_loops.h"

namespace ringflash::bench {
namespace {

std::vector<PeakLoop> machine_loops() {
#if defined(RINGFLASH_PEAK_X86)
  std::vector<PeakLoop> loops = x86_loops();
  if (!loops.empty()) return loops;
#endif
  return {portable_loop()};
}

const std::vector<PeakLoop>& loops() {
  static const std::vector<PeakLoop> found = machine_loops();
  return found;
}

/// FLOP per second of all threads.
double time_loop(const PeakLoop& loop, Executor& executor) {
  constexpr double kSeconds = 0.01;
  constexpr int64_t kProbe = 2000;
  const Stopwatch probe;
  loop.run(kProbe);
  const double per_iteration = std::max(probe.seconds() / kProbe, 1e-10);
  const auto iterations = std::max(kProbe, static_cast<int64_t>(kSeconds / per_iteration));
  const int threads = executor.concurrency();
  const Stopwatch stopwatch;
  executor.for_each(threads, [&](int64_t) { loop.run(iterations); });
  return loop.flops_per_iteration * static_cast<double>(iterations) * threads / stopwatch.seconds();
}

const char* instruction_of(std::string_view isa) {
  if (isa == "amx") return "tdpbf16ps";
  if (isa == "avx512bf16") return "vdpbf16ps";
  return "fp32_fma";
}

}  // namespace

PeakMeter::PeakMeter(Executor& executor) : executor_(executor) {
  for (const PeakLoop& loop : loops()) peaks_.push_back({.instruction = loop.instruction});
}

void PeakMeter::sample() {
  for (size_t i = 0; i < peaks_.size(); ++i) {
    peaks_[i].gflops = std::max(peaks_[i].gflops, time_loop(loops()[i], executor_) / 1e9);
  }
}

double PeakMeter::flops_for(std::string_view isa) const {
  for (const Peak& peak : peaks_) {
    if (peak.instruction == instruction_of(isa)) return peak.gflops * 1e9;
  }
  return 0;
}

}  // namespace ringflash::bench
