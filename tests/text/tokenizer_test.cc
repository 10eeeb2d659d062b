#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include "mixed_text.h"

namespace ringflash {
namespace {

using Ids = std::vector<int32_t>;

std::string byte_name(int byte) {
  char name[8];
  std::snprintf(name, sizeof name, "<0x%02X>", byte);
  return name;
}

/// <unk> <s> </s>, with `bytes` the 256 byte pieces from id 3 on, then `pieces`: each scores one less than
/// the one before it.
Vocabulary make_vocabulary(const std::vector<std::string>& pieces, bool bytes = true) {
  Vocabulary vocabulary;
  vocabulary.pieces = {
      {"<unk>", 0, PieceType::kUnknown}, {"<s>", 0, PieceType::kControl}, {"</s>", 0, PieceType::kControl}};
  for (int byte = 0; bytes && byte < 256; ++byte)
    vocabulary.pieces.push_back({byte_name(byte), 0, PieceType::kByte});
  float score = 0;
  for (const std::string& piece : pieces) vocabulary.pieces.push_back({piece, score--, PieceType::kNormal});
  return vocabulary;
}

Tokenizer make_tokenizer(Vocabulary vocabulary) {
  return Tokenizer::create(std::move(vocabulary)).value();
}

/// The pieces' texts joined by '|'.
std::string encoded(const Tokenizer& tokenizer, std::string_view text) {
  std::string out;
  for (const int32_t id : tokenizer.encode(text)) {
    out += (out.empty() ? "" : "|") + tokenizer.vocabulary().pieces[static_cast<size_t>(id)].text;
  }
  return out;
}

TEST(Tokenizer, MergesTheBestPairFirst) {
  // "bc" ranks above "ab", and "abc" can be reached from either side.
  const Tokenizer t = make_tokenizer(make_vocabulary({"bc", "ab", "cd", "a", "b", "c", "d"}));
  EXPECT_EQ(encoded(t, "abcd"), "a|bc|d");
  EXPECT_EQ(encoded(t, "abd"), "ab|d");
  EXPECT_EQ(encoded(t, "acd"), "a|cd");
}

TEST(Tokenizer, MergesTheLeftmostOfEqualPairs) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"aa", "aaaa", "a"}));
  EXPECT_EQ(encoded(t, "aaa"), "aa|a");
  EXPECT_EQ(encoded(t, "aaaaaaa"), "aaaa|aa|a");
}

TEST(Tokenizer, TurnsSpacesIntoTheirSymbol) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"▁a", "▁▁", "a", "▁"}));
  EXPECT_EQ(encoded(t, "a a   a "), "a|▁a|▁▁|▁a|▁");
  EXPECT_EQ(t.decode(t.encode("a a   a ")), "a a   a ");
}

TEST(Tokenizer, MergesAcrossSpacesIfPiecesDo) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"a▁", "a▁b", "a", "b", "▁"}));
  EXPECT_EQ(encoded(t, "a b a"), "a▁b|▁|a");
}

TEST(Tokenizer, MergesCharactersThatHaveNoPieceOfTheirOwn) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"xy", "a"}));
  EXPECT_EQ(encoded(t, "axyx"), "a|xy|<0x78>");
}

TEST(Tokenizer, FallsBackToBytes) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"a", "▁"}));
  EXPECT_EQ(encoded(t, "aé\n"), "a|<0xC3>|<0xA9>|<0x0A>");
  EXPECT_EQ(encoded(t, "\xFF\xC3"), "<0xFF>|<0xC3>");
  EXPECT_EQ(encoded(t, "▁ "), "<0xE2>|<0x96>|<0x81>|▁");  // the text's own U+2581 is no space
}

TEST(Tokenizer, GivesOneUnknownForARunWithoutBytePieces) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"a"}, false));
  EXPECT_EQ(t.encode("aéèa"), (Ids{3, 0, 3}));
}

TEST(Tokenizer, RestoresAnyBytesExactly) {
  const Tokenizer t =
      make_tokenizer(make_vocabulary({"th", "the", "▁the", "▁▁", "▁▁▁▁", "深度", "t", "h", "e", "▁"}));
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = testing::mixed_text(seed, 2000, true);
    EXPECT_EQ(t.decode(t.encode(text)), text);
  }
  EXPECT_TRUE(t.encode("").empty());
}

TEST(Tokenizer, DoesNotReadControlPiecesFromText) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"<", "s", ">"}));
  EXPECT_EQ(encoded(t, "<s>"), "<|s|>");
  EXPECT_EQ(t.decode(Ids{1, 259, 2}), "<");
}

TEST(Tokenizer, FindsUserDefinedPiecesFirstAndTheLongestOfThem) {
  Vocabulary vocabulary = make_vocabulary({"ab", "a", "b", "c", "▁"});
  vocabulary.pieces.push_back({"bc", 0, PieceType::kUserDefined});
  vocabulary.pieces.push_back({"bc▁", 0, PieceType::kUserDefined});
  const Tokenizer t = make_tokenizer(vocabulary);
  EXPECT_EQ(encoded(t, "abc"), "a|bc");
  EXPECT_EQ(encoded(t, "abc ab"), "a|bc▁|ab");
}

TEST(Tokenizer, TakesUnusedPiecesApart) {
  Vocabulary vocabulary = make_vocabulary({"ab", "abc", "a", "b", "c"});
  vocabulary.pieces[3 + 256].type = PieceType::kUnused;
  vocabulary.pieces[3 + 257].type = PieceType::kUnused;
  const Tokenizer t = make_tokenizer(vocabulary);
  EXPECT_EQ(encoded(t, "abcab"), "a|b|c|a|b");
  vocabulary.pieces[3 + 257].type = PieceType::kNormal;  // reached through an unused one
  EXPECT_EQ(encoded(make_tokenizer(vocabulary), "abcab"), "abc|a|b");
}

TEST(Tokenizer, PutsTheDummyPrefixBeforeTheTextAndTakesItAway) {
  Vocabulary vocabulary = make_vocabulary({"▁a", "a", "▁"});
  vocabulary.add_dummy_prefix = true;
  const Tokenizer t = make_tokenizer(vocabulary);
  EXPECT_EQ(encoded(t, "aa"), "▁a|a");
  EXPECT_EQ(encoded(t, " a"), "▁|▁a");
  EXPECT_EQ(encoded(t, ""), "");
  for (const std::string text : {"aa", " a", "", "  "}) EXPECT_EQ(t.decode(t.encode(text)), text);
}

// A quadratic encoder would need hours for these.
TEST(Tokenizer, EncodesMegabytesOfOneCharacter) {
  const Tokenizer t = make_tokenizer(make_vocabulary({"aa", "aaaa", "▁▁", "▁a", "a", "▁"}));
  EXPECT_EQ(t.encode(std::string(1 << 20, 'a')).size(), (1u << 20) / 4);
  EXPECT_EQ(t.encode(std::string(1 << 20, ' ')).size(), (1u << 20) / 2);
  EXPECT_EQ(t.encode(std::string(1 << 20, '\n')).size(), 1u << 20);
  EXPECT_EQ(t.encode(std::string(1 << 20, '\xFF')).size(), 1u << 20);
}

TEST(Vocabulary, RefusesWhatIsNotOne) {
  const auto message = [](const Vocabulary& v) {
    return validate(v).ok() ? "" : validate(v).error().message;
  };
  const Vocabulary good = make_vocabulary({"a", "b"});
  EXPECT_EQ(message(good), "");
  const auto with = [&](auto change) {
    Vocabulary v = good;
    change(v);
    return message(v);
  };
  const auto expect = [](const std::string& got, const std::string& part) {
    EXPECT_NE(got.find(part), std::string::npos) << got;
  };
  expect(message({}), "no pieces");
  expect(with([](auto& v) { v.pieces.pop_back(), v.pieces.push_back({"a"}); }),
         "piece 260 is 'a', which stands already at 259");
  expect(with([](auto& v) { v.pieces[259].text.clear(); }), "piece 259 is empty");
  expect(with([](auto& v) { v.pieces[259].text = "\xFF"; }), "piece 259 is not valid UTF-8");
  expect(with([](auto& v) { v.pieces[259].text = std::string(3000, 'a'); }),
         "3000 bytes, expected at most 2048");
  expect(with([](auto& v) { v.pieces[259].score = std::numeric_limits<float>::quiet_NaN(); }), "score");
  expect(with([](auto& v) { v.pieces[259].type = static_cast<PieceType>(7); }),
         "piece 259 is 'a' with type 7, expected 1 to 6");
  expect(with([](auto& v) { v.pieces[5].type = PieceType::kNormal; }), "255 byte pieces");
  expect(with([](auto& v) { v.pieces[5].text = "<0xgg>"; }), "byte piece named '<0xgg>'");
  expect(with([](auto& v) { v.pieces[259].type = PieceType::kUnknown; }), "2 pieces of the unknown type");
  expect(with([](auto& v) { v.unk_id = -2; }), "unk_id is -2, expected 0 to 260");
  expect(with([](auto& v) { v.bos_id = 261; }), "bos_id is 261, expected 0 to 260");
  expect(with([](auto& v) { v.eos_id = 259; }), "piece 259 is eos_id but has type 1");
  expect(with([](auto& v) { v.bos_id = -1; }), "must start with BOS");
  expect(with([](auto& v) { v.kind = TokenizerKind::kByteLevelBpe; }), "byte pieces in a byte-level tokenizer");
  EXPECT_FALSE(Tokenizer::create({}).ok());
}

TEST(Vocabulary, IsMadeAsLongAsTheEmbedding) {
  Vocabulary v = make_vocabulary({"a", "b"});
  const size_t size = v.pieces.size();
  v.pieces.push_back({"<image>", 0, PieceType::kControl});
  ASSERT_TRUE(resize_vocabulary(v, static_cast<int64_t>(size)).ok());
  EXPECT_EQ(v, make_vocabulary({"a", "b"}));
  ASSERT_TRUE(resize_vocabulary(v, static_cast<int64_t>(size) + 2).ok());
  EXPECT_EQ(v.pieces[size + 1], (Piece{"[PAD" + std::to_string(size + 1) + "]", 0, PieceType::kUnused}));
  EXPECT_EQ(find_piece(v, "b"), static_cast<int32_t>(size) - 1);
  EXPECT_EQ(find_piece(v, "c"), -1);
  v = make_vocabulary({"a", "b"});
  EXPECT_FALSE(resize_vocabulary(v, static_cast<int64_t>(size) - 1).ok());
}

TEST(Tokenizer, ParsesControlPiecesOnRequest) {
  Vocabulary vocabulary = make_vocabulary({"▁a", "a", "s", "▁"});
  const Tokenizer t = make_tokenizer(vocabulary);
  EXPECT_EQ(t.encode("<s>a").size(), 4u);  // "<" and ">" are byte pieces
  EXPECT_EQ(t.encode("<s>a</s>", SpecialText::kParsed), (Ids{1, 260, 2}));
  EXPECT_EQ(t.encode_prompt("a"), (Ids{1, 260}));
  EXPECT_EQ(t.encode_prompt("<s>a"), (Ids{1, 260}));  // one BOS is enough
  EXPECT_EQ(t.encode_prompt(""), (Ids{1}));
  EXPECT_TRUE(t.is_end(2));
  EXPECT_FALSE(t.is_end(1));
  vocabulary.add_bos = false;
  vocabulary.add_dummy_prefix = true;
  const Tokenizer prefixing = make_tokenizer(vocabulary);
  EXPECT_EQ(prefixing.encode_prompt("<s>a</s>", SpecialText::kParsed), (Ids{1, 259, 2}));
}

TEST(Utf8Stream, HoldsBackUnfinishedCharacters) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xF0\x9F"), "a");
  EXPECT_EQ(stream.push("\x98"), "");
  EXPECT_EQ(stream.push("\x80z"), "😀z");
  EXPECT_EQ(stream.finish(), "");
  EXPECT_EQ(stream.push("\xE2\x96"), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(Utf8Stream, ReplacesInvalidBytes) {
  Utf8Stream stream;
  EXPECT_EQ(stream.push("a\xFF\xC0\x80"
                        "b"),
            "a\uFFFD\uFFFD\uFFFDb");
  EXPECT_EQ(stream.push("\xE2\x96x"), "\uFFFDx");  // one for the unfinished character
  EXPECT_EQ(stream.push("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
}

TEST(Utf8Stream, DoesNotDependOnHowTheBytesAreCut) {
  const std::string text = testing::mixed_text(7, 3000, true);
  Utf8Stream whole, bytewise;
  const std::string expected = whole.push(text) + whole.finish();
  std::string got;
  for (const char c : text) got += bytewise.push(std::string_view(&c, 1));
  EXPECT_EQ(got + bytewise.finish(), expected);
}

}  // namespace
}  // namespace ringflash
