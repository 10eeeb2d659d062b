#include "format/tokenizer_gguf.h"

#include <gtest/gtest.h>

#include <fstream>

#include "../text/byte_level.h"
#include "base/file.h"
#include "format/import_tokenizer.h"
#include "mutations.h"
#include "temporary_directory.h"
#include "text/tokenizer.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

class TokenizerGgufTest : public ::testing::Test {
 protected:
  /// Written to a file, with `change` made to its keys first.
  GgufFile written(
      const Vocabulary& v, const std::function<void(GgufWriter&)>& change = [](GgufWriter&) {}) {
    GgufWriter writer;
    write_vocabulary(v, writer);
    change(writer);
    EXPECT_TRUE(writer.write(path_).ok());
    return GgufFile::open(path_).value();
  }

  const testing::TemporaryDirectory directory_{testing::memory_folder()};
  const std::filesystem::path path_ = directory_ / "model.gguf";
};

TEST_F(TokenizerGgufTest, ByteLevelVocabulariesComeBack) {
  Vocabulary v = testing::byte_level_vocabulary({{"h", "e"}, {" ", "he"}});
  v.chat_template = "{{ messages }}";
  GgufFile file = written(v);
  EXPECT_EQ(file.text("tokenizer.ggml.pre").value(), "gpt-2");
  EXPECT_EQ(read_vocabulary(file).value(), v);
  v.split_patterns = {"a+", "b+"};
  v.whole_words_first = true;
  v.composes = true;
  EXPECT_EQ(read_vocabulary(written(v)).value(), v);
}

TEST_F(TokenizerGgufTest, UserDefinedPiecesHavePlainSpacesInTheFile) {
  Vocabulary v;
  v.pieces = {{"<unk>", 0, PieceType::kUnknown},
              {"<s>", 0, PieceType::kControl},
              {"</s>", 0, PieceType::kControl},
              {"▁▁", 0, PieceType::kUserDefined},
              {"▁", 0, PieceType::kNormal}};
  const GgufFile file = written(v);
  const GgufArray texts = file.array("tokenizer.ggml.tokens").value();
  EXPECT_EQ(std::get<std::vector<std::string>>(texts)[3], "  ");
  EXPECT_EQ(std::get<std::vector<std::string>>(texts)[4], "▁");
  EXPECT_EQ(read_vocabulary(file).value(), v);
  v.kind = TokenizerKind::kUnigram;
  EXPECT_EQ(read_vocabulary(written(v)).value(), v);
}

TEST_F(TokenizerGgufTest, NamesWhatIsNotSupported) {
  const Vocabulary v = testing::byte_level_vocabulary({{"h", "e"}});
  const auto error_with = [&](const std::string& key, const GgufValue& value) {
    const auto read = read_vocabulary(written(v, [&](GgufWriter& writer) { writer.set(key, value); }));
    return read ? "accepted" : read.error().message.substr(path_.string().size());
  };
  EXPECT_TRUE(
      error_with("tokenizer.ggml.pre", std::string("kimi-k2"))
          .starts_with(": 'tokenizer.ggml.pre': the pre-tokenizer 'kimi-k2' is not known; known are "));
  EXPECT_EQ(error_with("tokenizer.ggml.merges", GgufArray(std::vector<std::string>{"he"})),
            ": 'tokenizer.ggml.merges' must hold pairs, found 'he'");
  EXPECT_EQ(error_with("tokenizer.ggml.model", std::string("rwkv")).substr(0, 30),
            ": 'tokenizer.ggml.model' must ");
}

TEST_F(TokenizerGgufTest, SpoiledFilesAreRefusedOrWork) {
  written(testing::byte_level_vocabulary({{"h", "e"}, {"he", "l"}}));
  const std::string whole = read_file(path_).value();
  Rng rng(1);
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::ofstream(path_, std::ios::binary) << testing::mutate(whole, rng);
    const auto file = GgufFile::open(path_);
    const auto vocabulary = file ? read_vocabulary(*file) : Result<Vocabulary>(file.error());
    const auto tokenizer =
        vocabulary ? Tokenizer::create(*vocabulary) : Result<Tokenizer>(vocabulary.error());
    refused += !tokenizer;
    if (tokenizer)
      (void)tokenizer->decode(tokenizer->encode("hello \xFF<|im_end|> 12\n", SpecialText::kParsed));
  }
  EXPECT_GT(refused, 50);
}

TEST_F(TokenizerGgufTest, IsImportedIntoACheckpoint) {
  if (!testing::can_split()) GTEST_SKIP() << "built without PCRE2";
  const auto out = directory_ / "out", second = directory_ / "second";
  std::filesystem::create_directories(out);
  std::filesystem::create_directories(second);
  Vocabulary v = testing::byte_level_vocabulary({{"h", "e"}});
  written(v);
  ASSERT_TRUE(import_tokenizer(path_, out).ok());
  EXPECT_EQ(load_tokenizer(out).value(), v);
  ASSERT_TRUE(import_tokenizer(out, second).ok());
  EXPECT_EQ(load_tokenizer(second).value(), v);
  EXPECT_FALSE(import_tokenizer(directory_ / "absent", out).ok());
  v.split_patterns = {"(a"};
  written(v);
  const std::string message = import_tokenizer(path_, out).error().message;
  EXPECT_NE(message.find("split pattern"), message.npos) << message;
}

}  // namespace
}  // namespace ringflash
