// The conversation with torch, which a shell script plays here: its arguments are -c, the program and the threads.
#include "bench/torch_peer.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "temporary_directory.h"

namespace ringflash::bench {
namespace {

namespace fs = std::filesystem;

class Torch : public ::testing::Test {
 protected:
  void SetUp() override { ::setenv("RINGFLASH_PYTHON", python_.c_str(), 1); }
  void TearDown() override { ::unsetenv("RINGFLASH_PYTHON"); }

  Result<TorchPeer> start(const std::string& script) const {
    EXPECT_TRUE(write_file(python_, "#!/bin/sh\n" + script));
    fs::permissions(python_, fs::perms::owner_all);
    return TorchPeer::start(3);
  }

  const testing::TemporaryDirectory directory_;
  const fs::path python_ = directory_ / "python";
};

TEST_F(Torch, AnswersLineByLine) {
  Result<TorchPeer> peer = start(R"(
    [ "$1 $3" = "-c 3" ] || exit 1
    echo "ok 9.9.9+cpu"
    while read -r line; do
      case $line in
        'prepare 100 8 2 64') echo "ok None" ;;
        forward) echo "ok 0.25" ;;
        forward_backward) echo "ok 1.5e-05" ;;
        *) echo "error what is $line" ;;
      esac
    done)");
  ASSERT_TRUE(peer) << peer.error().message;
  EXPECT_EQ(peer->version(), "9.9.9+cpu");
  EXPECT_TRUE(peer->prepare(100, AttentionCase()));
  EXPECT_EQ(peer->run(/*backward=*/false).value(), 0.25);
  EXPECT_EQ(peer->run(/*backward=*/true).value(), 1.5e-05);
  EXPECT_EQ(peer->prepare(99, AttentionCase()).error().message, "torch: what is prepare 99 8 2 64");
}

TEST_F(Torch, WhatIsMissingIsSaid) {
  EXPECT_EQ(start("echo 'error No module named torch'").error().message, "torch: No module named torch");
  EXPECT_EQ(start("exit 3").error().message, python_.string() + ": ended without an answer");
  fs::remove(python_);
  EXPECT_NE(TorchPeer::start(1).error().message.find("cannot be started"), std::string::npos);
}

TEST_F(Torch, NonsenseIsAnError) {
  EXPECT_EQ(start("echo hello; cat").error().message, "torch: hello");
  for (const char* seconds : {"fast", "", "-1", "nan", "0.5s"}) {
    Result<TorchPeer> peer = start(std::string("echo ok 1; read -r x; echo 'ok ") + seconds + "'");
    ASSERT_TRUE(peer);
    EXPECT_FALSE(peer->run(false)) << seconds;
  }
  // More than the longest line, and an end in the middle of one.
  EXPECT_FALSE(start("head -c 100000 /dev/zero; sleep 0"));
}

TEST_F(Torch, ThatEndedIsAnErrorNotASignal) {
  Result<TorchPeer> peer = start("echo ok 1; exit 0");
  ASSERT_TRUE(peer);
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(peer->run(false));
}

}  // namespace
}  // namespace ringflash::bench
