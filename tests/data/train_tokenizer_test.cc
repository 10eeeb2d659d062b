#include "data/train_tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "text/mixed_text.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

namespace ringflash {
namespace {

std::vector<std::string> mixed_documents(size_t count) {
  std::vector<std::string> documents;
  for (size_t i = 0; i < count; ++i) documents.push_back(testing::mixed_text(i, 4000, true));
  return documents;
}

Tokenizer trained(const std::vector<std::string>& documents, const TokenizerTraining& options) {
  const auto model = train_tokenizer(documents, options);
  EXPECT_TRUE(model.ok()) << model.error().message;
  return Tokenizer::create(parse_sentencepiece_model(*model).value()).value();
}

bool has_piece(const Tokenizer& tokenizer, const std::string& text) {
  const auto& pieces = tokenizer.vocabulary().pieces;
  return std::any_of(pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.text == text; });
}

TEST(TrainTokenizer, GivesTheIdsThatItPromises) {
  const Tokenizer t = trained(mixed_documents(100), {.vocab_size = 700});
  const Vocabulary& v = t.vocabulary();
  ASSERT_EQ(t.size(), 700);
  EXPECT_EQ(v.pieces[0], (Piece{"<unk>", 0, PieceType::kUnknown}));
  EXPECT_EQ(v.pieces[1], (Piece{"<s>", 0, PieceType::kControl}));
  EXPECT_EQ(v.pieces[2], (Piece{"</s>", 0, PieceType::kControl}));
  EXPECT_EQ(v.pieces[3], (Piece{"<0x00>", 0, PieceType::kByte}));
  EXPECT_EQ(v.pieces[258], (Piece{"<0xFF>", 0, PieceType::kByte}));
  EXPECT_EQ(v.pieces[259].type, PieceType::kNormal);
  EXPECT_EQ(v.unk_id, 0);
  EXPECT_EQ(v.bos_id, 1);
  EXPECT_EQ(v.eos_id, 2);
  EXPECT_FALSE(v.add_dummy_prefix);
}

TEST(TrainTokenizer, RestoresAnyBytes) {
  const Tokenizer t = trained(mixed_documents(100), {.vocab_size = 700});
  const std::string text = testing::mixed_text(12345, 100'000, true);
  const auto ids = t.encode(text);
  EXPECT_EQ(t.decode(ids), text);
  EXPECT_LT(3 * ids.size(), 2 * text.size()) << "it compresses";
}

TEST(TrainTokenizer, LearnsIndentationAndSplitsDigits) {
  const Tokenizer t = trained(mixed_documents(100), {.vocab_size = 700});
  EXPECT_TRUE(has_piece(t, "▁▁▁▁"));
  for (const Piece& piece : t.vocabulary().pieces) {
    if (piece.type != PieceType::kNormal) continue;
    const auto digits =
        std::count_if(piece.text.begin(), piece.text.end(), [](char c) { return c >= '0' && c <= '9'; });
    EXPECT_TRUE(digits == 0 || piece.text.size() == 1) << piece.text;
  }
}

TEST(TrainTokenizer, SaysWhichVocabularyTheTextCarries) {
  const std::vector<std::string> documents = {"a small text", "and another one"};
  const auto result = train_tokenizer(documents, {.vocab_size = 5000});
  ASSERT_FALSE(result.ok());
  const std::string& message = result.error().message;
  const std::string flag = "--set vocab_size=";
  ASSERT_NE(message.find(flag), std::string::npos) << message;
  EXPECT_NE(message.find("too little text for a vocabulary of 5000 pieces"), std::string::npos) << message;
  const int64_t advised = std::stoll(message.substr(message.find(flag) + flag.size()));
  EXPECT_EQ(trained(documents, {.vocab_size = advised}).size(), advised);
}

TEST(TrainTokenizer, RefusesImpossibleSizes) {
  for (const int64_t size : {-1, 0, 259, 1 << 30}) {
    const auto result = train_tokenizer(mixed_documents(5), {.vocab_size = size});
    ASSERT_FALSE(result.ok());
    EXPECT_NE(result.error().message.find(std::to_string(size)), std::string::npos) << result.error().message;
  }
}

TEST(TrainTokenizer, RefusesNoText) {
  EXPECT_FALSE(train_tokenizer({}, {}).ok());
  EXPECT_FALSE(train_tokenizer({"", "\n\t", "\xFF\xFE"}, {}).ok());
}

TEST(TrainTokenizer, LeavesHalfThePiecesToMerges) {
  std::string text;  // 5000 ideographs, the first ones much more often than the last
  for (int i = 0; i < 5000; ++i) {
    for (int repeat = 0; repeat < 1 + 5000 / (1 + i); ++repeat) {
      const int code = 0x4E00 + i;
      text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
               static_cast<char>(0x80 | (code & 0x3F))};
    }
  }
  const Tokenizer t = trained({text}, {.vocab_size = 659});
  const auto& pieces = t.vocabulary().pieces;
  EXPECT_EQ(std::count_if(pieces.begin(), pieces.end(),
                          [](const Piece& p) { return p.type == PieceType::kNormal && p.text.size() == 3; }),
            200);
  EXPECT_TRUE(has_piece(t, "一"));
  EXPECT_EQ(t.decode(t.encode(text)), text);
}

TEST(TrainTokenizer, SurvivesLongLinesAndBinary) {
  std::vector<std::string> documents = mixed_documents(20);
  documents.push_back(std::string(300'000, 'a'));
  documents.push_back(std::string(300'000, ' '));
  std::string binary;
  Rng rng(1);
  while (binary.size() < 100'000) binary += static_cast<char>(rng.next());
  documents.push_back(binary);
  const Tokenizer t = trained(documents, {.vocab_size = 600});
  EXPECT_EQ(t.decode(t.encode(binary)), binary);
}

TEST(EvenSample, TakesEvenly) {
  EvenSample sample(1000 * 50, 10'000);
  int early = 0, late = 0;
  for (int i = 0; i < 1000; ++i) (i < 500 ? early : late) += sample.take(50);
  EXPECT_NEAR(early, 100, 1);
  EXPECT_NEAR(late, 100, 1);
  EvenSample all(100, 100);
  EXPECT_TRUE(all.take(40));
  EXPECT_TRUE(all.take(60));
}

}  // namespace
}  // namespace ringflash
