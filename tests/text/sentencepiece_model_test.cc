#include "text/sentencepiece_model.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "protobuf_writer.h"
#include "text/tokenizer.h"

namespace ringflash {
namespace {

using testing::bytes_field;
using testing::number_field;
using testing::piece_field;

/// What a model file is made of, apart from its pieces; tests spoil one thing at a time.
struct Parts {
  uint64_t model_type = 2;
  bool suffix = false, byte_fallback = true, dummy_prefix = false, remove_spaces = false, escape = true;
  std::string charsmap = {}, denormalizer = {};

  std::string build() const {
    std::string out = piece_field("<unk>", 0, 2) + piece_field("<s>", 0, 3) + piece_field("</s>", 0, 3);
    char name[8];
    for (int byte = 0; byte < 256; ++byte) {
      std::snprintf(name, sizeof name, "<0x%02X>", byte);
      out += piece_field(name, 0, 6);
    }
    out += piece_field("ab", -0.5f, 1) + bytes_field(1, bytes_field(1, "a"));  // defaults: score 0, normal
    out += bytes_field(2, number_field(3, model_type) + number_field(24, suffix) +
                              number_field(35, byte_fallback) +
                              number_field(99, 12345));  // an unknown field is skipped
    out +=
        bytes_field(3, bytes_field(1, "nmt_nfkc") + bytes_field(2, charsmap) + number_field(3, dummy_prefix) +
                           number_field(4, remove_spaces) + number_field(5, escape));
    return denormalizer.empty() ? out : out + bytes_field(5, bytes_field(2, denormalizer));
  }
};

std::string refusal(const Parts& parts) {
  const auto result = parse_sentencepiece_model(parts.build());
  return result ? "accepted" : result.error().message;
}

TEST(SentencepieceModel, ReadsPieces) {
  const Vocabulary v = parse_sentencepiece_model(Parts{}.build()).value();
  ASSERT_EQ(v.pieces.size(), 261u);
  EXPECT_EQ(v.pieces[0], (Piece{"<unk>", 0, PieceType::kUnknown}));
  EXPECT_EQ(v.pieces[3 + 10], (Piece{"<0x0A>", 0, PieceType::kByte}));
  EXPECT_EQ(v.pieces[259], (Piece{"ab", -0.5f, PieceType::kNormal}));
  EXPECT_EQ(v.pieces[260], (Piece{"a", 0, PieceType::kNormal}));
  EXPECT_EQ(v.unk_id, 0);
  EXPECT_EQ(v.bos_id, 1);
  EXPECT_EQ(v.eos_id, 2);
  EXPECT_FALSE(v.add_dummy_prefix);
  EXPECT_TRUE(parse_sentencepiece_model(Parts{.dummy_prefix = true}.build()).value().add_dummy_prefix);
}

TEST(SentencepieceModel, NamesWhatIsUnsupported) {
  const auto expect = [](const Parts& parts, const std::string& part) {
    EXPECT_NE(refusal(parts).find(part), std::string::npos) << refusal(parts);
  };
  expect({.model_type = 3}, "model_type is 3, expected 1 (unigram) or 2 (BPE)");
  expect({.suffix = true}, "treat_whitespace_as_suffix");
  expect({.byte_fallback = false}, "byte_fallback is off");
  expect({.remove_spaces = true}, "remove_extra_whitespaces");
  expect({.escape = false}, "escape_whitespaces");
  expect({.charsmap = "x"}, "the normalizer is 'nmt_nfkc', expected identity");
  expect({.denormalizer = "x"}, "denormalizer");
}

TEST(SentencepieceModel, RefusesWhatIsNoModel) {
  for (const std::string& bytes : {std::string(), std::string("hello, world"), std::string(100, '\xFF'),
                                   std::string(100, '\0'), number_field(1, 5), bytes_field(1, "\x0A\x7F")}) {
    EXPECT_FALSE(parse_sentencepiece_model(bytes).ok());
  }
}

TEST(SentencepieceModel, SurvivesTruncation) {
  const std::string model = Parts{}.build();
  for (size_t size = 0; size < model.size(); ++size) {
    const auto result = parse_sentencepiece_model(std::string_view(model).substr(0, size));
    EXPECT_FALSE(result.ok()) << "the first " << size << " bytes of " << model.size();
  }
}

TEST(SentencepieceModel, SurvivesMutation) {
  const std::string model = Parts{}.build();
  Rng rng(1);
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bad = model;
    for (uint64_t n = 1 + rng.below(4); n > 0; --n)
      bad[rng.below(bad.size())] = static_cast<char>(rng.next());
    auto result = parse_sentencepiece_model(bad);
    if (!result) {
      ++refused;
      EXPECT_FALSE(result.error().message.empty());
      continue;
    }
    // What is accepted must be usable.
    const Tokenizer tokenizer = Tokenizer::create(std::move(result).value()).value();
    EXPECT_EQ(tokenizer.decode(tokenizer.encode("abba \xFF")).size(), 6u);
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace ringflash
