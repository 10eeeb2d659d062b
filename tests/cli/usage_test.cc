// Wrong usage is told apart from failed work: exit code 2, nothing on stdout, one error line that says what
// is wrong.
#include <gtest/gtest.h>

#include "cli/run_program.h"

namespace ringflash::testing {
namespace {

const std::vector<std::string> kCommands = {"export", "generate", "eval", "plan", "report", "info"};

::testing::AssertionResult contains(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "'" << part << "' is not in:\n" << text;
}

void expect_usage_error(const std::vector<std::string>& arguments, const std::string& names) {
  const Outcome outcome = run_ringflash(arguments);
  SCOPED_TRACE(::testing::PrintToString(arguments));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("ringflash: error: ")) << outcome.err;
  EXPECT_TRUE(contains(outcome.err.substr(0, outcome.err.find('\n')), names));
}

TEST(Usage, NoCommandPrintsTheHelpAndFails) {
  const Outcome outcome = run_ringflash({});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(outcome.out, "");
  for (const std::string& command : kCommands) EXPECT_TRUE(contains(outcome.err, "  " + command + " "));
}

TEST(Usage, HelpListsTheCommandsAndEachHasAnExample) {
  const Outcome all = run_ringflash({"--help"});
  EXPECT_EQ(all.exit_code, 0);
  EXPECT_TRUE(contains(all.out, "  train "));
  for (const std::string& command : kCommands) {
    EXPECT_TRUE(contains(all.out, "  " + command + " "));
    const Outcome outcome = run_ringflash({command, "--help"});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_TRUE(contains(outcome.out, "Example:\n  ringflash " + command + " "));
    EXPECT_TRUE(contains(outcome.out, "--json"));
    EXPECT_TRUE(contains(outcome.out, "--threads"));
  }
}

TEST(Usage, VersionIsPrinted) {
  const Outcome outcome = run_ringflash({"--version"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.out, "ringflash " RINGFLASH_VERSION "\n");
}

TEST(Usage, UnknownWordsAreNamed) {
  expect_usage_error({"generat"}, "'generat'");
  expect_usage_error({"--frobnicate"}, "--frobnicate");
  expect_usage_error({"info", "a.gguf", "--frobnicate"}, "--frobnicate");
  expect_usage_error({"info", "a.gguf", "b.gguf"}, "b.gguf");
}

TEST(Usage, MissingArgumentsAreNamed) {
  expect_usage_error({"info"}, "MODEL");
  expect_usage_error({"generate", "-p", "x"}, "MODEL");
  expect_usage_error({"generate", "a.gguf"}, "--prompt");
  expect_usage_error({"eval", "a.gguf", "--task", "ppl"}, "--data");
  expect_usage_error({"eval", "a.gguf", "--data", "x"}, "--task");
  expect_usage_error({"export", "dir"}, "--out");
}

TEST(Usage, APromptIsGivenInOneWay) {
  expect_usage_error({"generate", "a.gguf", "-p", "x", "--prompt-file", "y"}, "--prompt-file");
}

TEST(Usage, NumbersOutOfRangeAreNamed) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--temperature", "-0.1"}, "temperature"},
      {{"--temperature", "nan"}, "temperature"},
      {{"--temperature", "warm"}, "--temperature"},
      {{"--top-p", "0"}, "top-p"},
      {{"--top-p", "1.5"}, "top-p"},
      {{"--top-k", "-1"}, "top-k"},
      {{"--top-k", "1.5"}, "--top-k"},
      {{"--repetition-penalty", "0"}, "repetition-penalty"},
      {{"--seed", "-1"}, "--seed"},
      {{"--seed", "1x"}, "--seed"},
      {{"-n", "-1"}, "--max-tokens: must be a whole number from 0 to 9223372036854775807, not '-1'"},
      {{"-n", "99999999999999999999"}, "--max-tokens"},
      {{"--context", "-1"}, "--context"},
      {{"--threads", "-1"}, "--threads"},
      {{"--threads", "1000000"}, "--threads"},
  };
  for (const auto& [option, name] : cases) {
    std::vector<std::string> arguments = {"generate", "a.gguf", "-p", "x"};
    arguments.insert(arguments.end(), option.begin(), option.end());
    expect_usage_error(arguments, name);
  }
  expect_usage_error({"eval", "a.gguf", "--task", "ppl", "--data", "x", "--overlap", "-1"}, "--overlap");
  const std::vector<std::pair<std::vector<std::string>, std::string>> needle_cases = {
      {{"--lengths", "1024,2k"}, "--lengths: must be a whole number from 1 to 134217728, not '2k'"},
      {{"--lengths", "0"}, "--lengths"},
      {{"--lengths", "1024", "2048"}, "2048"},
      {{"--depths", "0,101"}, "--depths: must be a whole number from 0 to 100, not '101'"},
      {{"--samples", "0"}, "--samples"},
      {{"--seed", "-1"}, "--seed"},
  };
  for (const auto& [option, name] : needle_cases) {
    std::vector<std::string> arguments = {"eval", "a.gguf", "--task", "needle"};
    arguments.insert(arguments.end(), option.begin(), option.end());
    expect_usage_error(arguments, name);
  }
}

TEST(Usage, OptionsOfAnotherTaskAreRefused) {
  expect_usage_error({"eval", "a.gguf", "--task", "needle", "--context", "8"}, "--context belongs to --task ppl");
  expect_usage_error({"eval", "a.gguf", "--task", "ppl", "--data", "x", "--html", "y"},
                     "--html belongs to --task needle");
}

TEST(Usage, UnknownChoicesNameThoseThereAre) {
  expect_usage_error({"eval", "a.gguf", "--task", "chess", "--data", "x"}, "ppl");
  expect_usage_error({"export", "dir", "--out", "a.gguf", "--format", "q9"}, "q8");
}

}  // namespace
}  // namespace ringflash::testing
