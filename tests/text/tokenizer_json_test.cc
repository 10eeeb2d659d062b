#include "text/tokenizer_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "byte_level.h"
#include "format/mutations.h"
#include "temporary_directory.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

using Json = nlohmann::json;

/// What the writer makes of a byte-level vocabulary, to be changed by the tests.
Json byte_level_json() {
  return Json::parse(to_tokenizer_json(testing::byte_level_vocabulary({{"h", "e"}, {"he", "l"}})));
}

TokenizerConfig chatml_config() {
  return {.bos = "<|im_start|>",
          .eos = "<|im_end|>",
          .add_bos = false,
          .add_dummy_prefix = {},
          .chat_template = "x"};
}

std::string refusal(const Json& json) {
  const auto read = parse_tokenizer_json(json.dump(), chatml_config());
  return read ? "accepted" : read.error().message;
}

TEST(TokenizerJson, ByteLevelVocabulariesComeBack) {
  Vocabulary v = testing::byte_level_vocabulary({{"h", "e"}, {"he", "l"}});
  v.chat_template = "{{ messages }}";
  v.whole_words_first = true;
  v.composes = true;
  const TokenizerConfig config = parse_tokenizer_config(to_tokenizer_config(v)).value();
  const auto read = parse_tokenizer_json(to_tokenizer_json(v), config);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, v);
}

TEST(TokenizerJson, ReadsWhatOthersWrite) {
  Json json = byte_level_json();
  json["model"]["merges"] = {"h e", "he l"};
  json["normalizer"] = {{"type", "NFC"}};
  json["pre_tokenizer"] = Json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Digits", "individual_digits": true}, {"type": "ByteLevel", "add_prefix_space": false}]})");
  const Vocabulary v = parse_tokenizer_json(json.dump(), chatml_config()).value();
  EXPECT_EQ(v.split_patterns, named_split_rules("smollm").value().patterns);
  EXPECT_EQ(v.merges, (std::vector<std::pair<std::string, std::string>>{{"h", "e"}, {"he", "l"}}));
  EXPECT_EQ(v.eos_id, v.bos_id + 1);
  EXPECT_TRUE(v.composes);
}

TEST(TokenizerJson, BosComesFromThePostProcessorToo) {
  Vocabulary v = testing::byte_level_vocabulary({});
  v.add_bos = true;
  TokenizerConfig config;
  config.eos = "<|im_end|>";
  const Vocabulary read = parse_tokenizer_json(to_tokenizer_json(v), config).value();
  EXPECT_EQ(read.bos_id, v.bos_id);
  EXPECT_TRUE(read.add_bos);
  config.add_bos = false;
  EXPECT_FALSE(parse_tokenizer_json(to_tokenizer_json(v), config).value().add_bos);
}

/// Pieces for "▁hello" and bytes, with scores that make the order of merging matter.
Vocabulary sentencepiece_vocabulary() {
  Vocabulary v;
  v.pieces = {
      {"<unk>", 0, PieceType::kUnknown}, {"<s>", 0, PieceType::kControl}, {"</s>", 0, PieceType::kControl}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    v.pieces.push_back({name, 0, PieceType::kByte});
  }
  float score = 0;
  for (const char* text : {"lo", "ell", "el", "▁h", "hell", "▁hello", "hello"})
    v.pieces.push_back({text, --score});
  for (const char* text : {"▁", "h", "e", "l", "o"}) v.pieces.push_back({text, 0});
  v.pieces.push_back({"▁▁", 0, PieceType::kUserDefined});
  return v;
}

TEST(TokenizerJson, SentencePieceBpeEncodesTheSameWhenItComesBack) {
  Vocabulary v = sentencepiece_vocabulary();
  v.add_dummy_prefix = true;
  const TokenizerConfig config = parse_tokenizer_config(to_tokenizer_config(v)).value();
  const auto read = parse_tokenizer_json(to_tokenizer_json(v), config);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->kind, TokenizerKind::kSentencePieceBpe);
  EXPECT_TRUE(read->add_dummy_prefix);
  EXPECT_TRUE(read->add_bos);
  const Tokenizer before = Tokenizer::create(v).value(), after = Tokenizer::create(*read).value();
  for (const char* text : {"hello", " hello  hello", "hell", "ellohlloello", "héllo  ", "  "}) {
    EXPECT_EQ(after.encode(text), before.encode(text)) << text;
  }
}

TEST(TokenizerJson, SentencePieceSpacesComeInManyForms) {
  const Vocabulary v = sentencepiece_vocabulary();
  const Json plain = Json::parse(to_tokenizer_json(v));
  const TokenizerConfig config = parse_tokenizer_config(to_tokenizer_config(v)).value();
  const auto ids_with = [&](const char* normalizer, const char* pre_tokenizer) {
    Json json = plain;
    json["normalizer"] = Json::parse(normalizer);
    json["pre_tokenizer"] = Json::parse(pre_tokenizer);
    return Tokenizer::create(parse_tokenizer_json(json.dump(), config).value()).value().encode("hello hello");
  };
  Vocabulary prefixed = v;
  prefixed.add_dummy_prefix = true;
  const auto bare = Tokenizer::create(v).value().encode("hello hello");
  const auto with_prefix = Tokenizer::create(prefixed).value().encode("hello hello");
  ASSERT_NE(bare, with_prefix);
  constexpr const char* kReplace = R"({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})";
  // Gemma, Llama 2, Mistral.
  EXPECT_EQ(ids_with(kReplace,
                     R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"})"),
            bare);
  EXPECT_EQ(ids_with(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
      {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})",
                     "null"),
            with_prefix);
  EXPECT_EQ(ids_with("null", R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"})"),
            with_prefix);
  EXPECT_EQ(ids_with("null", R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})"),
            bare);
}

TEST(TokenizerJson, UnigramComesBack) {
  Vocabulary v = sentencepiece_vocabulary();
  v.kind = TokenizerKind::kUnigram;
  for (Piece& piece : v.pieces) piece.score = piece.type == PieceType::kNormal ? piece.score - 1 : 0;
  const TokenizerConfig config = parse_tokenizer_config(to_tokenizer_config(v)).value();
  const auto read = parse_tokenizer_json(to_tokenizer_json(v), config);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, v);
}

TEST(TokenizerJson, NamesWhatIsNotSupported) {
  const auto with = [](const char* pointer, Json value) {
    Json json = byte_level_json();
    json[Json::json_pointer(pointer)] = std::move(value);
    return refusal(json);
  };
  EXPECT_EQ(with("/model/type", "WordPiece"),
            "unsupported tokenizer: its model is 'WordPiece', expected BPE or Unigram");
  EXPECT_EQ(with("/normalizer", {{"type", "Lowercase"}}),
            "unsupported tokenizer: its normaliser is '{\"type\":\"Lowercase\"}'");
  EXPECT_EQ(with("/pre_tokenizer", {{"type", "BertPreTokenizer"}}),
            "unsupported tokenizer: its pre-tokenizer has a step of type 'BertPreTokenizer'");
  EXPECT_EQ(with("/pre_tokenizer", nullptr),
            "unsupported tokenizer: its pre-tokenizer is neither ByteLevel nor Metaspace");
  EXPECT_EQ(with("/pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", true}}),
            "unsupported tokenizer: ByteLevel with add_prefix_space");
  EXPECT_EQ(with("/pre_tokenizer/pretokenizers/0/behavior", "MergedWithNext"),
            "unsupported tokenizer: a Split with behavior 'MergedWithNext'");
  EXPECT_EQ(with("/added_tokens/0/lstrip", true),
            "unsupported tokenizer: '<|im_start|>' is an added token with lstrip");
  EXPECT_EQ(with("/model/end_of_word_suffix", "</w>"), "unsupported tokenizer: end_of_word_suffix '</w>'");
  EXPECT_EQ(with("/model/merges", {"h"}), "merge 0 must be two pieces");
  EXPECT_EQ(with("/model/vocab/x", 1 << 30), "the id of 'x' must be from 0 to 65799");
  EXPECT_EQ(with("/model/vocab/zz", 'a'), "the id 97 stands for 'a' and 'zz'");
  EXPECT_EQ(refusal(Json::array()), "expected a JSON object");
  EXPECT_EQ(parse_tokenizer_json("{", {}).error().message, "not valid JSON");
}

TEST(TokenizerJson, SpoiledFilesAreRefusedOrWork) {
  const std::string whole = byte_level_json().dump(1);
  Rng rng(1);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto vocabulary = parse_tokenizer_json(testing::mutate(whole, rng), chatml_config());
    const auto tokenizer =
        vocabulary ? Tokenizer::create(*vocabulary) : Result<Tokenizer>(vocabulary.error());
    refused += !tokenizer;
    if (tokenizer)
      (void)tokenizer->decode(tokenizer->encode("hello \xFF<|im_end|> 12\n", SpecialText::kParsed));
  }
  EXPECT_GT(refused, 100);
}

TEST(TokenizerJson, ConfigsOfManyKinds) {
  const TokenizerConfig config =
      parse_tokenizer_config(R"({"bos_token": {"content": "<s>"}, "eos_token": null,
      "chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})")
          .value();
  EXPECT_EQ(config.bos, "<s>");
  EXPECT_EQ(config.eos, std::nullopt);
  EXPECT_EQ(config.add_bos, std::nullopt);
  EXPECT_EQ(config.chat_template, "d");
}

TEST(TokenizerFiles, AreSavedLoadedAndCopied) {
  const testing::TemporaryDirectory directory;
  const Vocabulary v = testing::byte_level_vocabulary({{"h", "e"}});
  EXPECT_FALSE(load_tokenizer(directory.path()).ok());
  ASSERT_TRUE(save_tokenizer(v, directory.path()).ok());
  EXPECT_EQ(load_tokenizer(directory.path()).value(), v);
  EXPECT_FALSE(has_sentencepiece_model(directory.path()));
  const auto copy = directory / "copy";
  std::filesystem::create_directory(copy);
  ASSERT_TRUE(write_file(copy / "tokenizer.model", "an older one").ok());
  ASSERT_TRUE(copy_tokenizer(directory.path(), copy).ok());
  EXPECT_FALSE(std::filesystem::exists(copy / "tokenizer.model"));
  EXPECT_EQ(load_tokenizer(copy).value(), v);
  EXPECT_EQ(tokenizer_content(copy).value(), tokenizer_content(directory.path()).value());
  ASSERT_TRUE(write_file(copy / "chat_template.jinja", "{{ x }}").ok());
  EXPECT_EQ(load_tokenizer(copy)->chat_template, "{{ x }}");
  EXPECT_NE(tokenizer_content(copy).value(), tokenizer_content(directory.path()).value());
}

TEST(TokenizerFiles, EndsComeFromTheModelsConfigWhereTheTokenizersHasNone) {
  const testing::TemporaryDirectory directory;
  const Vocabulary v = testing::byte_level_vocabulary({});
  ASSERT_TRUE(save_tokenizer(v, directory.path()).ok());
  ASSERT_TRUE(write_file(directory / "tokenizer_config.json", "{}").ok());
  const std::string message = load_tokenizer(directory.path()).error().message;
  EXPECT_NE(message.find("names its EOS token"), message.npos) << message;
  ASSERT_TRUE(write_file(directory / "config.json", "{\"eos_token_id\": [257, 256]}").ok());
  const Vocabulary read = load_tokenizer(directory.path()).value();
  EXPECT_EQ(read.eos_id, 257);
  EXPECT_EQ(read.bos_id, 257);
  EXPECT_FALSE(read.add_bos);
}

}  // namespace
}  // namespace ringflash
