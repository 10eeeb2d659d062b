#include "data/chat_document.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "data/packed_rows.h"
#include "data/prepare.h"
#include "documents.h"
#include "text/byte_level.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

constexpr const char* kChatml =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr const char* kTwoTurns =
    R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "bc"},
        {"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}, {"role": "user", "content": "bye"}])";

/// The text of the ids that are learned, control pieces by their names, "|" between runs of them.
std::string learned_text(const Tokenizer& tokenizer, const ChatTokens& tokens) {
  std::string text;
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    if (!tokens.learned[i]) {
      if (!text.empty() && text.back() != '|') text += '|';
      continue;
    }
    const Piece& piece = tokenizer.vocabulary().pieces[static_cast<size_t>(tokens.ids[i])];
    text += piece.type == PieceType::kControl ? piece.text : std::string(tokenizer.bytes(tokens.ids[i]));
  }
  return text;
}

TEST(ChatDocument, RefusesWhatIsNoConversation) {
  const auto message = [](const char* json) { return parse_messages(json).error().message; };
  EXPECT_EQ(message("{}"), "expected a list of messages under \"messages\"");
  EXPECT_EQ(message("[]"), "expected a list of messages under \"messages\"");
  EXPECT_EQ(message(R"([{"role": "user", "content": 5}])"),
            "message 0: expected an object with strings under \"role\" and \"content\"");
  EXPECT_EQ(message("[5]"), "message 0: expected an object with strings under \"role\" and \"content\"");
  EXPECT_EQ(message(R"([{"role": "user", "content": "x"}])"),
            "expected a message of the role \"assistant\", from which to learn, found none");
  EXPECT_EQ(contents_of(kTwoTurns), "a\nbc\nd\ne\nbye\n");
}

class ChatTokensTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::can_split()) GTEST_SKIP() << "built without PCRE2";
  }
};

TEST_F(ChatTokensTest, TheAssistantsWordsAndTheEndOfItsTurnAreLearned) {
  const Tokenizer tokenizer = Tokenizer::create(testing::byte_level_vocabulary({{"b", "c"}})).value();
  const ChatTemplate chat = ChatTemplate::create(kChatml).value();
  const ChatTokens tokens = encode_chat(tokenizer, chat, kTwoTurns).value();
  EXPECT_EQ(learned_text(tokenizer, tokens), "bc<|im_end|>|e<|im_end|>|");
  EXPECT_EQ(tokens.text,
            "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nbc<|im_end|>\n"
            "<|im_start|>user\nd<|im_end|>\n<|im_start|>assistant\ne<|im_end|>\n");
  EXPECT_EQ(tokens.ids, tokenizer.encode(tokens.text, SpecialText::kParsed));
}

TEST_F(ChatTokensTest, ATemplateThatRewritesEarlierTurnsIsRefused) {
  const Tokenizer tokenizer = Tokenizer::create(testing::byte_level_vocabulary({})).value();
  const ChatTemplate chat = ChatTemplate::create("{{ messages|length }}{{ messages[-1].content }}").value();
  const std::string message = encode_chat(tokenizer, chat, kTwoTurns).error().message;
  EXPECT_TRUE(message.starts_with("the chat template shows the messages before number 2 otherwise"))
      << message;
}

TEST(MaskedDataset, KeepsWhatIsLearned) {
  const testing::TemporaryDirectory directory;
  TokenDatasetWriter writer(directory.path(), "d", 100, /*shard_tokens=*/6);
  ASSERT_TRUE(writer.add(std::vector<int32_t>{1, 2, 3, 4}, 4, {false, true, false, true}).ok());
  ASSERT_TRUE(writer.add(std::vector<int32_t>{5, 6}, 2).ok());
  ASSERT_TRUE(writer.add(std::vector<int32_t>{7, 8}, 2).ok());  // a shard of its own, without a mask
  ASSERT_TRUE(writer.finish().ok());
  const TokenDataset dataset = TokenDataset::open(directory.path(), "d").value();
  std::vector<bool> learned;
  for (int64_t document = 0; document < 3; ++document) {
    for (int64_t i = 0; i < dataset.document_tokens(document); ++i)
      learned.push_back(dataset.is_learned(document, i));
  }
  EXPECT_EQ(learned, (std::vector<bool>{false, true, false, true, true, true, true, true}));
  const PackedBatch batch = PackedRows(dataset, 8, 1, /*shuffle=*/false).batch(0, 1);
  constexpr int32_t kIgnored = PackedBatch::kIgnored;
  EXPECT_EQ(batch.targets, (std::vector<int32_t>{2, kIgnored, 4, kIgnored, 6, kIgnored, 8, kIgnored}));
}

TEST(MaskedDataset, TheMaskIsPartOfTheFingerprintAndOfTheFile) {
  const testing::TemporaryDirectory directory;
  const auto fingerprint = [&](const std::vector<bool>& learned) {
    TokenDatasetWriter writer(directory.path(), "d", 100);
    EXPECT_TRUE(writer.add(std::vector<int32_t>{1, 2, 3}, 3, learned).ok());
    EXPECT_TRUE(writer.finish().ok());
    return TokenDataset::open(directory.path(), "d").value().fingerprint();
  };
  EXPECT_EQ(fingerprint({}), fingerprint({true, true, true}));
  EXPECT_NE(fingerprint({}), fingerprint({true, false, true}));
  EXPECT_NE(fingerprint({false, true, true}), fingerprint({true, true, false}));
  const std::string whole = read_file(directory / "d-00000.bin").value();
  testing::overwrite(directory / "d-00000.bin", whole.substr(0, whole.size() - 1));
  EXPECT_FALSE(TokenDataset::open(directory.path(), "d").ok());
}

TEST(PreparedChats, AreRenderedAndTheTemplateStaysWithTheTokenizer) {
  const testing::TemporaryDirectory directory;
  std::string lines;
  for (int i = 0; i < 40; ++i) {
    const std::string n = std::to_string(i);
    lines += R"({"messages": [{"role": "user", "content": "what is the number )" + n +
             R"("}, {"role": "assistant", "content": "the number is )" + n + "\"}]}\n";
  }
  testing::overwrite(directory / "chat.jsonl", lines);
  PrepareOptions options;
  options.paths = {directory / "chat.jsonl"};
  options.directory = directory / "data";
  options.vocab_size = 300;
  options.sequence_length = 64;
  options.heldout_fraction = 0.1;
  options.quiet = true;
  const auto prepared = prepare_data(options);
  ASSERT_TRUE(prepared) << prepared.error().message;
  const Vocabulary vocabulary = load_tokenizer(prepared->tokenizer).value();
  EXPECT_EQ(vocabulary.chat_template, kDefaultChatTemplate);
  const Tokenizer tokenizer = Tokenizer::create(vocabulary).value();
  const auto ids = testing::read_document(prepared->train, 0);
  ChatTokens tokens{ids, {}, {}};
  for (int64_t i = 0; i < std::ssize(ids); ++i) tokens.learned.push_back(prepared->train.is_learned(0, i));
  const std::string learned = learned_text(tokenizer, tokens);
  EXPECT_TRUE(learned.starts_with("the number is ") && learned.ends_with("</s>|")) << learned;
  EXPECT_TRUE(prepare_data(options)->reused);
}

}  // namespace
}  // namespace ringflash
