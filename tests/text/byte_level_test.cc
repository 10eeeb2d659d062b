#include "byte_level.h"

#include <gtest/gtest.h>

#include "mixed_text.h"
#include "text/tokenizer.h"

namespace ringflash {
namespace {

using testing::byte_level_vocabulary;
using testing::can_split;

std::string joined(const std::vector<std::string>& patterns, std::string_view text) {
  const Splitter splitter = Splitter::create(patterns).value();
  std::vector<std::string_view> words;
  splitter.split(text, words);
  std::string out;
  for (const std::string_view word : words) out.append(out.empty() ? "" : "|").append(word);
  return out;
}

std::string named(std::string_view name, std::string_view text) {
  return joined(named_split_rules(name).value().patterns, text);
}

TEST(ByteAlphabet, HasACharacterForEveryByte) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(from_byte_alphabet(to_byte_alphabet(all)), all);
  EXPECT_EQ(to_byte_alphabet(" a\n\xFF\xAD"), "ĠaĊÿŃ");
  EXPECT_EQ(from_byte_alphabet("a b"), std::nullopt);
  EXPECT_EQ(from_byte_alphabet("的"), std::nullopt);
}

class SplitterTest : public ::testing::Test {
  void SetUp() override {
    if (!can_split()) GTEST_SKIP() << "built without PCRE2";
  }
};

TEST_F(SplitterTest, PublishedPatternsCutAsTheirModelsDo) {
  EXPECT_EQ(named("gpt-2", "Hello world's 2024,  x\n\n y"), "Hello| world|'s| 2024|,| | x|\n\n| y");
  EXPECT_EQ(named("smollm", "in 2024"), "in| |2|0|2|4");
  EXPECT_EQ(named("llama-bpe", "DON'T 12345 (ok)\n\n z"), "DON|'T| |123|45| (|ok|)\n\n| z");
  EXPECT_EQ(named("qwen2", "a 12 \n\n b"), "a| |1|2| \n\n| b");
  EXPECT_EQ(named("gpt-4o", "camelCase HTMLPage it's"), "camel|Case| HTMLPage| it's");
  EXPECT_EQ(named("tekken", "camelCase it's"), "camel|Case| it|'s");
  EXPECT_EQ(named("default", "a, 12345"), "a|,| |123|45");
}

TEST_F(SplitterTest, SpacesAreUnicodes) {
  EXPECT_EQ(joined({R"(\s+)"}, "a\u2003\u3000b\u180Ec"), "a|\u2003\u3000|b\u180Ec");
  EXPECT_EQ(joined({R"([\s,]+)"}, "a \u00A0,b"), "a| \u00A0,|b");
}

TEST_F(SplitterTest, BytesThatAreNoTextStandAlone) {
  EXPECT_EQ(joined({R"(\p{L}+)"},
                   "ab\xFF"
                   "cd\xE2\x96"),
            "ab|\xFF|cd|\xE2\x96");
}

TEST_F(SplitterTest, MatchesOfNothingCut) {
  EXPECT_EQ(joined({R"((?=(\d{3})+(?!\d)))"}, "1234567"), "1|234|567");
}

TEST_F(SplitterTest, CatastrophicPatternsEnd) {
  const std::string text = std::string(40, 'a') + "b";
  EXPECT_EQ(joined({R"((a|aa)+$)"}, text), text);
}

TEST_F(SplitterTest, NamesWhatIsWrong) {
  EXPECT_EQ(Splitter::create({"(a"}).error().message,
            "the split pattern '(a' is not understood: missing closing parenthesis");
  const std::string message = named_split_rules("bert").error().message;
  EXPECT_TRUE(message.starts_with("the pre-tokenizer 'bert' is not known; known are gpt-2, ")) << message;
  EXPECT_EQ(name_of(named_split_rules("llama-v3").value()), "llama-bpe");
  EXPECT_EQ(name_of({{"x"}, false}), "");
}

class ByteLevelTest : public SplitterTest {};

std::string encoded(const Vocabulary& vocabulary, std::string_view text) {
  const Tokenizer t = Tokenizer::create(vocabulary).value();
  std::string out;
  for (const int32_t id : t.encode(text)) out.append(out.empty() ? "" : "|").append(t.bytes(id));
  return out;
}

TEST_F(ByteLevelTest, MergesByRankWithinWords) {
  const Vocabulary v = byte_level_vocabulary({{"h", "e"}, {"l", "l"}, {" ", "t"}, {"he", "ll"}, {"e", "l"}});
  EXPECT_EQ(encoded(v, "hello the tell"), "hell|o| t|he| t|e|ll");
  EXPECT_EQ(encoded(v, "h e"), "h| |e");
}

TEST_F(ByteLevelTest, WholeWordsComeFirstWhereTheModelSaysSo) {
  Vocabulary v = byte_level_vocabulary({{"a", "b"}, {"b", "c"}, {"a", "bc"}});
  EXPECT_EQ(encoded(v, "abc"), "ab|c");
  v.whole_words_first = true;
  EXPECT_EQ(encoded(v, "abc"), "abc");
}

TEST_F(ByteLevelTest, ComesBackFromAnyBytes) {
  const Tokenizer t =
      Tokenizer::create(byte_level_vocabulary({{"t", "h"}, {" ", "th"}, {"e", "\n"}})).value();
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = testing::mixed_text(seed, 2000, true);
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
}

TEST_F(ByteLevelTest, SpecialPieces) {
  const Vocabulary v = byte_level_vocabulary({});
  const Tokenizer t = Tokenizer::create(v).value();
  const int32_t start = v.bos_id, end = v.eos_id, think = v.eos_id + 1;
  EXPECT_EQ(t.encode("<|im_start|>").size(), 12u);
  EXPECT_EQ(t.encode("<think>"), (std::vector<int32_t>{think}));
  EXPECT_EQ(t.encode("<|im_start|>a<think><|im_end|>", SpecialText::kParsed),
            (std::vector<int32_t>{start, 'a', think, end}));
  EXPECT_EQ(t.decode({{start, 'a', think, end}}), "a<think>");
  EXPECT_TRUE(t.is_end(end));
  EXPECT_EQ(t.encode_prompt("a"), (std::vector<int32_t>{'a'}));
}

TEST_F(ByteLevelTest, BytesWithoutAPieceAreDropped) {
  Vocabulary v = byte_level_vocabulary({});
  v.pieces[7] = {"unused", 0, PieceType::kUnused};
  EXPECT_EQ(encoded(v,
                    "a\x07"
                    "b"),
            "a|b");
}

// A quadratic encoder would need hours for these.
TEST_F(ByteLevelTest, EncodesMegabytesOfOneCharacter) {
  const Tokenizer t =
      Tokenizer::create(byte_level_vocabulary({{"a", "a"}, {"aa", "aa"}, {" ", " "}})).value();
  EXPECT_EQ(t.encode(std::string(1 << 20, 'a')).size(), (1u << 20) / 4);
  EXPECT_EQ(t.encode(std::string(1 << 20, ' ')).size(), (1u << 20) / 2);
  EXPECT_EQ(t.encode(std::string(1 << 20, '\xFF')).size(), 1u << 20);
}

TEST_F(ByteLevelTest, NamesBadMerges) {
  Vocabulary v = byte_level_vocabulary({{"a", "b"}});
  v.merges.emplace_back("a", "c");
  EXPECT_EQ(Tokenizer::create(v).error().message, "vocabulary: merge 1 needs 'ac', which is no piece");
}

// As Hugging Face's tokenizers have it; llama.cpp's lets nothing merge over such a byte.
TEST(ByteLevel, MergesOverBytesWithoutAPiece) {
  if (!can_split()) GTEST_SKIP() << "built without PCRE2";
  Vocabulary vocabulary = byte_level_vocabulary({{" ", "#"}});
  vocabulary.pieces[4] = {"<unused4>", 0, PieceType::kUnused};
  const Tokenizer tokenizer = Tokenizer::create(std::move(vocabulary)).value();
  EXPECT_EQ(tokenizer.encode(" \x04#"), (std::vector<int32_t>{256}));
}

}  // namespace
}  // namespace ringflash
