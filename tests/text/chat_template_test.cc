#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "byte_level.h"
#include "format/mutations.h"

namespace ringflash {
namespace {

using Json = nlohmann::json;

std::string rendered(const Result<ChatTemplate>& chat, const std::vector<ChatMessage>& messages,
                     bool prompt = true) {
  if (!chat) return chat.error().message;
  const auto text = chat->render(messages, {.add_generation_prompt = prompt});
  return text ? *text : text.error().message;
}

/// A vocabulary of no use but for its template, "<s>" and "</s>".
Vocabulary with_template(const std::string& source) {
  Vocabulary v;
  v.pieces = {
      {"<unk>", 0, PieceType::kUnknown}, {"<s>", 0, PieceType::kControl}, {"</s>", 0, PieceType::kControl}};
  v.chat_template = source;
  return v;
}

/// The templates of real models; their texts are what Python's jinja2 makes of them
/// (chat_templates/render.py).
TEST(ChatTemplate, RendersRealModelsTemplatesAsJinjaDoes) {
  size_t cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CHAT_TEMPLATES)) {
    if (entry.path().extension() != ".jinja") continue;
    SCOPED_TRACE(entry.path().filename().string());
    const auto chat = ChatTemplate::of(with_template(read_file(entry.path()).value()));
    std::filesystem::path expected = entry.path();
    for (const Json& test : Json::parse(read_file(expected.replace_extension(".json")).value())) {
      std::vector<ChatMessage> messages;
      for (const Json& message : test["messages"]) messages.push_back({message["role"], message["content"]});
      const std::string text = rendered(chat, messages, test["add_generation_prompt"]);
      if (test.contains("text")) {
        EXPECT_EQ(text, test["text"]);
      } else {
        EXPECT_NE(text.find(test["error"]), text.npos) << text;
      }
      ++cases;
    }
  }
  EXPECT_GE(cases, 64u);
}

TEST(ChatTemplate, ModelsWithoutOneEndEveryMessageWithEos) {
  EXPECT_EQ(rendered(ChatTemplate::of(with_template("")), {{"system", "S"}, {"user", "U"}}),
            "<|system|>\nS</s>\n<|user|>\nU</s>\n<|assistant|>\n");
}

TEST(ChatTemplate, NamesWhatIsWrong) {
  EXPECT_EQ(rendered(ChatTemplate::create("a\n{% include 'x' %}"), {}),
            "chat template: line 2: the tag 'include' is not supported");
  EXPECT_EQ(rendered(ChatTemplate::create("{{ raise_exception('No ' + messages[0].role) }}"), {{"tool", ""}}),
            "chat template: line 1: No tool");
}

TEST(ChatTemplate, SpoiledTemplatesAreRefusedOrRender) {
  Rng rng(1);
  int rendered_some = 0, refused = 0;
  for (const char* name : {"qwen3.jinja", "llama3.2.jinja", "gemma3.jinja"}) {
    const std::string whole = read_file(std::filesystem::path(CHAT_TEMPLATES) / name).value();
    for (int i = 0; i < 500; ++i) {
      const auto chat = ChatTemplate::create(testing::mutate(whole, rng));
      const bool works =
          chat && chat->render({{"user", "a \xFF"}, {"assistant", "<think>b</think>c"}}, {}).ok();
      ++(works ? rendered_some : refused);
    }
  }
  EXPECT_GT(rendered_some, 50);
  EXPECT_GT(refused, 50);
}

TEST(ChatTemplate, KnowsTheTime) {
  const auto chat = ChatTemplate::create("{{ strftime_now('%d %b %Y') }}");
  EXPECT_EQ(chat->render({}, {.add_generation_prompt = true, .now = 86400 * 365}).value(), "01 Jan 1971");
}

}  // namespace
}  // namespace ringflash
