#include "text/nfc.h"

#include <gtest/gtest.h>

#include "byte_level.h"
#include "text/tokenizer.h"

namespace ringflash {
namespace {

class Nfc : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!check_nfc()) GTEST_SKIP() << check_nfc().error().message;
  }
};

TEST_F(Nfc, Composes) {
  EXPECT_EQ(to_nfc(""), "");
  EXPECT_EQ(to_nfc("plain"), "plain");
  EXPECT_EQ(to_nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(to_nfc("\u00e9"), "\u00e9");
  EXPECT_EQ(to_nfc("\u1112\u1161\u11ab"), "\ud55c");        // Hangul
  EXPECT_EQ(to_nfc("\u212b"), "\u00c5");                    // the sign for angstroms is a letter
  EXPECT_EQ(to_nfc("a\u0323\u0307"), "\u1ea1\u0307");       // marks in canonical order
  EXPECT_EQ(to_nfc("a\u0307\u0323"), "\u1ea1\u0307");
  EXPECT_EQ(to_nfc("\ufb01"), "\ufb01");                    // what is only compatible stays
  EXPECT_EQ(to_nfc(std::string_view("a\0e\u0301", 5)), std::string("a\0\u00e9", 4));
}

TEST_F(Nfc, LeavesWhatIsNotUtf8) {
  for (const char* text : {"\xff", "e\u0301\xc3", "\xed\xa0\x80"}) EXPECT_EQ(to_nfc(text), text);
}

TEST_F(Nfc, TokenizersComposeAroundSpecialPieces) {
  Vocabulary v = testing::byte_level_vocabulary({{"\xc3", "\xa9"}});
  const std::string text = "e\u0301<|im_end|>e\u0301";
  EXPECT_EQ(Tokenizer::create(v).value().encode(text, SpecialText::kParsed).size(), 7u);
  v.composes = true;
  EXPECT_EQ(Tokenizer::create(v).value().encode(text, SpecialText::kParsed), (std::vector<int32_t>{256, v.eos_id, 256}));
}

}  // namespace
}  // namespace ringflash
