#include "bench/peak.h"

#include <gtest/gtest.h>

#include "bench/machine.h"

namespace ringflash::bench {
namespace {

TEST(PeakMeter, MeasuresEveryInstructionTheMachineHas) {
  SerialExecutor executor;
  PeakMeter peak(executor);
  EXPECT_EQ(peak.flops_for("scalar"), 0);  // not yet
  peak.sample();
  ASSERT_FALSE(peak.peaks().empty());
  EXPECT_EQ(peak.peaks().front().instruction, "fp32_fma");
  for (const Peak& each : peak.peaks()) EXPECT_GT(each.gflops, 0) << each.instruction;
  for (const char* isa : {"scalar", "avx2", "avx512", "neon"}) {
    EXPECT_EQ(peak.flops_for(isa), peak.peaks().front().gflops * 1e9) << isa;
  }
}

TEST(Machine, IsKnown) {
  const Machine machine = this_machine();
  EXPECT_GE(machine.cores, 1);
  EXPECT_GT(machine.memory_bytes, int64_t{1} << 20);
  EXPECT_GE(std::string(kCommit).size(), 7u);
}

}  // namespace
}  // namespace ringflash::bench
