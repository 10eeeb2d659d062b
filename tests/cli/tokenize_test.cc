#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

using Tokenize = TinyFiles;

// Of the tiny vocabulary, <s> is 1, byte b is 3 + b, and 259 is "a", 260 "aa", 261 "aaa".

TEST_F(Tokenize, PrintsALineForEachToken) {
  const Outcome outcome = run_ringflash({"tokenize", model_, "-p", "aaa\n\xC3\xA9\""});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "1\t\"\"\n261\t\"aaa\"\n13\t\"\\n\"\n198\t\"\uFFFD\"\n172\t\"\uFFFD\"\n37\t\"\\\"\"\n");
  EXPECT_EQ(outcome.err, "6 tokens of 7 bytes\n");
}

TEST_F(Tokenize, JsonHoldsIds) {
  const std::string file = text_file("text", "aab");
  const nlohmann::json expected = {{"tokens", 3}, {"bytes", 3}, {"ids", {1, 260, 101}}};
  EXPECT_EQ(one_object(run_ringflash({"tokenize", model_, "--prompt-file", file, "--json"})), expected);
  const auto ids = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"tokenize", model_, "-p", "a</s>", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return one_object(run_ringflash(arguments)).at("ids");
  };
  EXPECT_EQ(ids({}), (nlohmann::json{1, 259, 2}));
  EXPECT_EQ(ids({"--plain"}), (nlohmann::json{1, 259, 3 + '<', 3 + '/', 3 + 's', 3 + '>'}));
}

TEST_F(Tokenize, WrongUseAndMissingFilesAreNamed) {
  EXPECT_EQ(run_ringflash({"tokenize", model_}).exit_code, 2);
  EXPECT_EQ(run_ringflash({"tokenize", model_, "-p", "x", "--prompt-file", "y"}).exit_code, 2);
  expect_failure(run_ringflash({"tokenize", model_, "--prompt-file", path("nowhere")}), {path("nowhere")});
  expect_failure(run_ringflash({"tokenize", path("nowhere"), "-p", "x"}), {path("nowhere")});
}

}  // namespace
}  // namespace ringflash::testing
