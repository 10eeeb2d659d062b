#include "runtime/chat.h"

#include <gtest/gtest.h>

#include "base/thread_pool.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

class ChatTest : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_tiny_gguf(path_, {}); }

  static std::string say(Chat& chat, const std::string& text, int64_t* read = nullptr) {
    GenerateOptions options;
    options.max_tokens = 8;
    options.sampling.temperature = 0;
    std::string answer;
    const auto report = chat.say(text, options, [&](std::string_view piece) {
      answer += piece;
      return true;
    });
    EXPECT_TRUE(report) << report.error().message;
    if (read != nullptr) *read = report->prompt_tokens;
    return answer;
  }

  const testing::TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_ / "model.gguf";
};

TEST_F(ChatTest, TheKeptCacheGivesTheAnswerThatReadingAllAgainWould) {
  const Model model = Model::load(path_).value();
  ThreadPool pool(1);
  Chat chat = Chat::create(model, pool, 0, "S").value();
  const std::string first = say(chat, "one");
  int64_t read = 0;
  const std::string second = say(chat, "two", &read);
  const std::vector<ChatMessage> expected = {
      {"system", "S"}, {"user", "one"}, {"assistant", first}, {"user", "two"}, {"assistant", second}};
  ASSERT_EQ(chat.messages().size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(chat.messages()[i].role, expected[i].role);
    EXPECT_EQ(chat.messages()[i].content, expected[i].content);
  }

  std::vector<ChatMessage> before(chat.messages().begin(), chat.messages().end() - 1);
  const std::string rendered = ChatTemplate::of(model.tokenizer().vocabulary())->render(before, {}).value();
  const std::vector<int32_t> all = model.tokenizer().encode_prompt(rendered);
  Session session(model, pool);
  GenerateOptions options;
  options.max_tokens = 8;
  options.sampling.temperature = 0;
  std::string again;
  ASSERT_TRUE(generate_text(session, std::span<const int32_t>(all), options, [&](std::string_view piece) {
    again += piece;
    return true;
  }));
  EXPECT_EQ(second, again);
  EXPECT_LT(read, std::ssize(all) / 2);
}

TEST_F(ChatTest, AFailedTurnLeavesTheConversationAsItWas) {
  const Model model = Model::load(path_).value();
  ThreadPool pool(1);
  Chat chat = Chat::create(model, pool, 64, std::nullopt).value();
  const std::string first = say(chat, "x");
  const auto too_long = chat.say(std::string(100, 'z'), {}, [](std::string_view) { return true; });
  ASSERT_FALSE(too_long);
  EXPECT_EQ(chat.messages().size(), 2u);
  chat.reset();
  EXPECT_TRUE(chat.messages().empty());
  EXPECT_EQ(say(chat, "x"), first);
}

}  // namespace
}  // namespace ringflash
