#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

using Chat = TinyFiles;

/// Its messages and turns after these lines on stdin.
nlohmann::json conversation(const std::string& model, const std::string& lines,
                            std::vector<std::string> more = {}) {
  std::vector<std::string> arguments = {"chat", model, "-n", "6", "--temperature", "0", "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return one_object(run_ringflash(arguments, {.in = lines}));
}

TEST_F(Chat, AnswersLineByLine) {
  const nlohmann::json talk =
      conversation(model_, "hello\n\nand you\n/exit\nnot read\n", {"--system", "be kind"});
  ASSERT_EQ(talk["messages"].size(), 5u);
  const char* roles[] = {"system", "user", "assistant", "user", "assistant"};
  for (size_t i = 0; i < 5; ++i) EXPECT_EQ(talk["messages"][i]["role"], roles[i]);
  EXPECT_EQ(talk["messages"][0]["content"], "be kind");
  EXPECT_EQ(talk["messages"][3]["content"], "and you");
  ASSERT_EQ(talk["turns"].size(), 2u);
  const Outcome plain = run_ringflash(
      {"chat", model_, "-n", "6", "--temperature", "0", "--system", "be kind"}, {.in = "hello\nand you"});
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_EQ(plain.out, talk["messages"][2].value("content", "") + "\n" +
                           talk["messages"][4].value("content", "") + "\n");
}

TEST_F(Chat, ReadsOnlyWhatIsNew) {
  const nlohmann::json talk = conversation(model_, "hello\nhello\n");
  // The first prompt is "<s><|user|>\nhello</s>\n<|assistant|>\n"; the second begins where the answer ended:
  // one id of it may be unread, "</s>\n", then the same without BOS.
  const int64_t first = talk["turns"][0].value("prompt_tokens", 0),
                second = talk["turns"][1].value("prompt_tokens", 0);
  EXPECT_GE(second, first + 1);
  EXPECT_LE(second, first + 2);
}

TEST_F(Chat, ResettingForgets) {
  const nlohmann::json again = conversation(model_, "something else\n/reset\nhello\n"),
                       once = conversation(model_, "hello\n");
  EXPECT_EQ(again["messages"], once["messages"]);
}

TEST_F(Chat, EndsWhereTheContextDoes) {
  const Outcome outcome = run_ringflash({"chat", model_, "--context", "16"}, {.in = "a message too long\n"});
  expect_failure(outcome, {"the context holds 16"});
}

}  // namespace
}  // namespace ringflash::testing
