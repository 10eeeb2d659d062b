// Our encoder against the sentencepiece library's, id for id.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include "mixed_text.h"
#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"

namespace ringflash {
namespace {

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool done() const override { return next_ == lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  size_t next_ = 0;
};

std::string train(std::unordered_map<std::string, std::string> extra) {
  std::unordered_map<std::string, std::string> settings = {{"model_type", "bpe"},
                                                           {"vocab_size", "1200"},
                                                           {"byte_fallback", "true"},
                                                           {"minloglevel", "2"},
                                                           {"character_coverage", "0.9995"},
                                                           {"normalization_rule_name", "identity"},
                                                           {"add_dummy_prefix", "false"},
                                                           {"remove_extra_whitespaces", "false"},
                                                           {"hard_vocab_limit", "false"}};
  for (auto& [key, value] : extra) settings[key] = value;
  std::vector<std::string> lines;
  const std::string text = testing::mixed_text(1, 300000);
  for (size_t begin = 0; begin < text.size(); begin += 1000) lines.push_back(text.substr(begin, 1000));
  Lines iterator(std::move(lines));
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(settings, &iterator, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

Tokenizer load_ours(const sentencepiece::SentencePieceProcessor& library) {
  return Tokenizer::create(parse_sentencepiece_model(library.serialized_model_proto()).value()).value();
}

void expect_same_ids(const sentencepiece::SentencePieceProcessor& library, const Tokenizer& ours,
                     std::string_view text) {
  std::vector<int> expected;
  ASSERT_TRUE(library.Encode({text.data(), text.size()}, &expected).ok());
  const std::vector<int32_t> got = ours.encode(text);
  const auto [a, b] = std::mismatch(got.begin(), got.end(), expected.begin(), expected.end());
  EXPECT_TRUE(got == expected) << "from id " << a - got.begin() << " of " << got.size() << " and "
                               << expected.size() << " on";
}

void expect_parity(const std::unordered_map<std::string, std::string>& settings) {
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.LoadFromSerializedProto(train(settings)).ok());
  const Tokenizer ours = load_ours(library);
  expect_same_ids(library, ours, testing::mixed_text(2, 1 << 20));
  for (uint64_t seed = 3; seed < 300; ++seed) expect_same_ids(library, ours, testing::mixed_text(seed, seed));
}

TEST(SentencepieceParity, DefaultPieces) {
  expect_parity({});
}

TEST(SentencepieceParity, WhitespacePiecesAndDigits) {
  expect_parity({{"allow_whitespace_only_pieces", "true"}, {"split_digits", "true"}});
}

TEST(SentencepieceParity, PiecesAcrossSpaces) {
  expect_parity({{"split_by_whitespace", "false"}});
}

TEST(SentencepieceParity, UserDefinedPieces) {
  expect_parity({{"user_defined_symbols", "the,he,qui,▁▁,深度,training"}});
}

TEST(SentencepieceParity, DummyPrefix) {
  expect_parity({{"add_dummy_prefix", "true"}});
}

TEST(SentencepieceParity, NoBytePieces) {
  expect_parity({{"byte_fallback", "false"}});
}

TEST(SentencepieceParity, Unigram) {
  expect_parity({{"model_type", "unigram"}});
}

TEST(SentencepieceParity, UnigramWithoutBytePieces) {
  expect_parity({{"model_type", "unigram"}, {"byte_fallback", "false"}, {"add_dummy_prefix", "true"}});
}

TEST(SentencepieceParity, UnusedPieces) {
  sentencepiece::SentencePieceProcessor library;
  // Without byte pieces, because SetVocabulary makes those unused too.
  ASSERT_TRUE(library.LoadFromSerializedProto(train({{"byte_fallback", "false"}})).ok());
  std::vector<std::string> kept;
  for (int id = 3; id < library.GetPieceSize(); id += 3) kept.push_back(library.IdToPiece(id));
  ASSERT_TRUE(library.SetVocabulary(std::vector<absl::string_view>(kept.begin(), kept.end())).ok());
  const Tokenizer ours = load_ours(library);
  ASSERT_EQ(ours.vocabulary().pieces.back().type,
            library.IsUnused(library.GetPieceSize() - 1) ? PieceType::kUnused : PieceType::kNormal);
  for (uint64_t seed = 3; seed < 100; ++seed) expect_same_ids(library, ours, testing::mixed_text(seed, 2000));
}

}  // namespace
}  // namespace ringflash
