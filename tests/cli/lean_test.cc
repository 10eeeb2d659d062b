// The lean binary is small and starts at once: it is meant for edge devices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "cli/run_program.h"
#include "temporary_directory.h"

namespace ringflash::testing {
namespace {

TEST(Lean, StrippedItIsUnderTenMegabytes) {
  const TemporaryDirectory directory;
  const std::filesystem::path stripped = directory / "ringflash";
  const std::string command =
      std::string(RINGFLASH_STRIP) + " -o '" + stripped.string() + "' '" + ringflash_binary().string() + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_LT(std::filesystem::file_size(stripped), 10'000'000u);
}

TEST(Lean, ItStartsInUnderFiftyMilliseconds) {
  // The fastest of several: the others show what else the machine is doing.
  double fastest = 1e9;
  for (int i = 0; i < 10; ++i) fastest = std::min(fastest, run_ringflash({"--version"}).seconds);
  EXPECT_LT(fastest, 0.05);
}

}  // namespace
}  // namespace ringflash::testing
