// `ringflash train` becomes `ringflash-train`, whose place is taken here by a script that shows its
// arguments.
#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/run_program.h"
#include "temporary_directory.h"

namespace ringflash::testing {
namespace {

namespace fs = std::filesystem;

/// A copy of the binary alone in a directory: no training half beside it.
fs::path lonely_binary(const TemporaryDirectory& directory) {
  fs::create_directory(directory / "bin");
  fs::copy_file(ringflash_binary(), directory / "bin/ringflash");
  return directory / "bin/ringflash";
}

void write_script(const fs::path& path, const std::string& says) {
  ASSERT_TRUE(write_file(path, "#!/bin/sh\nprintf '" + says + ":'\nprintf ' [%s]' \"$@\"\nexit 7\n").ok());
  fs::permissions(path, fs::perms::owner_all);
}

TEST(Train, ArgumentsGoVerbatimToTheProgramBeside) {
  const TemporaryDirectory directory;
  const fs::path binary = lonely_binary(directory);
  write_script(directory / "bin/ringflash-train", "beside");
  const Outcome outcome =
      run_ringflash({"train", "--help", "--json", "a b", "", "--", "-x=1"}, {.program = binary});
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_EQ(outcome.out, "beside: [train] [--help] [--json] [a b] [] [--] [-x=1]");
  EXPECT_EQ(outcome.err, "");
}

TEST(Train, TheProgramIsAlsoFoundOnThePath) {
  const TemporaryDirectory directory;
  const fs::path binary = lonely_binary(directory);
  fs::create_directory(directory / "elsewhere");
  write_script(directory / "elsewhere/ringflash-train", "on path");
  const std::string path = (directory / "elsewhere").string() + ":/usr/bin:/bin";
  const Outcome outcome = run_ringflash({"train"}, {.program = binary, .environment = {{"PATH", path}}});
  EXPECT_EQ(outcome.exit_code, 7);
  EXPECT_EQ(outcome.out, "on path: [train]");
}

TEST(Train, WithoutTheTrainingHalfTheErrorSaysSo) {
  const TemporaryDirectory directory;
  const fs::path binary = lonely_binary(directory);
  const Outcome outcome =
      run_ringflash({"train"}, {.program = binary, .environment = {{"PATH", "/usr/bin:/bin"}}});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_NE(outcome.err.find("ringflash: error: this is the lean build"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("ringflash-train"), std::string::npos);
}

TEST(Train, AProgramThatCannotBeStartedIsAnErrorWithTheReason) {
  const TemporaryDirectory directory;
  const fs::path binary = lonely_binary(directory);
  ASSERT_TRUE(write_file(directory / "bin/ringflash-train", "not executable").ok());
  const Outcome outcome = run_ringflash({"train"}, {.program = binary});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.err.find("ermission denied"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace ringflash::testing
