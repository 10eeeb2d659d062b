// `ringflash plan`: what training takes, and whether it fits.
#include <gtest/gtest.h>

#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

TEST(Plan, ShowsItsWorking) {
  const Outcome outcome = run_ringflash({"plan", "--preset", "nano", "--batch", "4"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* row : {"parameters ", "weights ", "gradients ", "moments ", "activations ", "peak of a process ", "cache ", "FLOP"}) {
    EXPECT_NE(outcome.out.find(row), std::string::npos) << row;
  }
  EXPECT_EQ(outcome.out.find("Does it fit"), std::string::npos);
}

TEST(Plan, JsonAddsUp) {
  const auto plan = one_object(run_ringflash({"plan", "--preset", "nano", "--optimizer-bits", "8", "--json"}));
  const auto& bytes = plan["bytes"];
  EXPECT_EQ(bytes["weights"], 4 * plan["parameters"].get<int64_t>());
  int64_t sum = 0;
  for (const char* part : {"weights", "moments", "masks", "step", "libraries", "scratch"}) sum += bytes[part].get<int64_t>();
  EXPECT_EQ(bytes["peak"], sum);
}

TEST(Plan, AnswersEitherWayWithSuccess) {
  const Outcome yes = run_ringflash({"plan", "--preset", "nano", "--batch", "16", "--memory", "600M"});
  EXPECT_EQ(yes.exit_code, 0);
  EXPECT_NE(yes.out.find("\nYes, with "), std::string::npos) << yes.out;
  const Outcome no = run_ringflash({"plan", "--preset", "small", "--memory", "1G"});
  EXPECT_EQ(no.exit_code, 0);
  EXPECT_NE(no.out.find("\nNo. "), std::string::npos) << no.out;
  EXPECT_NE(no.out.find("layers fit"), std::string::npos) << no.out;
}

// The question of docs/plan.md: 6.1 G weights at 16K in 40 GB do not, with weights shared by pairs of layers they do.
TEST(Plan, AnswersForSixBillion) {
  const std::vector<std::string> question = {"plan", "--config", SIX_BILLION, "--memory", "40G", "--json"};
  const auto alone = one_object(run_ringflash(question))["fit"];
  EXPECT_GT(alone["plan"]["parameters"], int64_t{6'000'000'000});
  EXPECT_EQ(alone["fits"], false);
  EXPECT_TRUE(alone["train_options"].is_null());
  std::vector<std::string> shared = question;
  shared.insert(shared.end(), {"--set", "sharing_group_size=2", "--set", "sharing_rank=64"});
  const auto answer = one_object(run_ringflash(shared))["fit"];
  EXPECT_EQ(answer["fits"], true);
  const std::string options = answer["train_options"];
  EXPECT_EQ(options.rfind("--seq 16384 --activation-budget ", 0), 0u) << options;
  EXPECT_NE(options.find("% --set optimizer_bits=8"), std::string::npos) << options;
}

TEST(Plan, NamesWhatIsWrong) {
  const Outcome memory = run_ringflash({"plan", "--memory", "40X"});
  EXPECT_EQ(memory.exit_code, 2);
  EXPECT_NE(memory.err.find("--memory: expected bytes"), std::string::npos) << memory.err;
  expect_failure(run_ringflash({"plan", "--preset", "huge"}), {"'huge'"});
  expect_failure(run_ringflash({"plan", "--sequence-parallel", "2"}), {"--sequence-parallel must divide"});
  expect_failure(run_ringflash({"plan", "--set", "hidden_size"}), {"--set takes key=value"});
}

}  // namespace
}  // namespace ringflash::testing
