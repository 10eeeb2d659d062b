#include "eval/needle_prompt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/tiny_model.h"

namespace ringflash {
namespace {

TEST(NeedleText, NoWordCanBeTakenForAnother) {
  std::set<std::string_view> words;
  size_t count = 0;
  for (const NeedleTopic& topic : needle_topics()) {
    words.insert(topic.key);
    words.insert(topic.values.begin(), topic.values.end());
    count += 1 + topic.values.size();
    for (const std::string_view a : topic.values) {
      for (const std::string_view b : topic.values)
        EXPECT_TRUE(a == b || !b.starts_with(a)) << a << ", " << b;
    }
  }
  EXPECT_EQ(words.size(), count);
  for (const std::string_view sentence : needle_filler()) EXPECT_EQ(sentence.find("secret"), sentence.npos);
}

TEST(NeedleText, AStatementIsTheQuestionAndItsAnswer) {
  const Fact fact{"animal", "otter"};
  EXPECT_EQ(fact.question(), " Remember the animal");
  EXPECT_EQ(fact.statement(), " Remember the animal otter.");
}

TEST(SplitSentences, CutsBehindStopsAndLineEnds) {
  const std::vector<std::string_view> expected = {"One 1.5 two.", " Three?", " Four!",
                                                  " five\n",      "\n",      "six"};
  EXPECT_EQ(split_sentences("One 1.5 two. Three? Four! five\n\nsix"), expected);
  EXPECT_TRUE(split_sentences("").empty());
}

TEST(SplitSentences, CutsWhatHasNoneBetweenWordsOrCharacters) {
  std::string texts[] = {"", "x"};  // words; accents
  for (int i = 0; i < 300; ++i) {
    texts[0] += " word";
    texts[1] += "\u00e9";
  }
  for (const std::string& text : texts) {
    std::string joined;
    for (const std::string_view sentence : split_sentences(text)) {
      EXPECT_FALSE(sentence.empty());
      EXPECT_LE(sentence.size(), 256);
      EXPECT_NE(static_cast<unsigned char>(sentence.front()) & 0xC0, 0x80);
      EXPECT_TRUE(text != texts[0] || sentence.front() == ' ');
      joined += sentence;
    }
    EXPECT_EQ(joined, text);
  }
}

class NeedlePrompts : public ::testing::Test {
 protected:
  NeedlePrompt make(int64_t length, int64_t depth, uint64_t seed = 7) {
    Rng rng(seed);
    return make_needle_prompt(tokenizer_, haystack_, length, depth, rng).value();
  }
  std::string text(const NeedlePrompt& prompt) { return tokenizer_.decode(prompt.ids); }

  const Tokenizer tokenizer_ = Tokenizer::create(testing::byte_vocabulary(288)).value();
  const Haystack haystack_{tokenizer_, "", 4096};
};

TEST_F(NeedlePrompts, HaveTheLengthAskedForAnswerIncluded) {
  for (const int64_t length : {64, 65, 100, 255, 256, 1000, 4097}) {
    for (const int64_t depth : {0, 33, 100}) {
      const NeedlePrompt prompt = make(length, depth);
      EXPECT_EQ(std::ssize(prompt.ids) + prompt.answer_tokens, length);
      EXPECT_EQ(prompt.answer_tokens, std::ssize(prompt.fact.value) + 1);  // bytes, with the space
      EXPECT_EQ(prompt.ids.front(), tokenizer_.vocabulary().bos_id);
    }
  }
}

TEST_F(NeedlePrompts, TellTheFactOnceAndEndWithItsQuestion) {
  const NeedlePrompt prompt = make(2000, 40);
  const std::string all = text(prompt);
  EXPECT_TRUE(all.ends_with(prompt.fact.question()));
  const size_t first = all.find(prompt.fact.statement());
  ASSERT_NE(first, all.npos);
  EXPECT_EQ(all.find(prompt.fact.statement(), first + 1), all.npos);
  const std::span fact = std::span(prompt.ids)
                             .subspan(static_cast<size_t>(prompt.fact_begin),
                                      static_cast<size_t>(prompt.fact_end - prompt.fact_begin));
  EXPECT_EQ(tokenizer_.decode(fact), prompt.fact.statement());
}

TEST_F(NeedlePrompts, HideTheFactBetweenSentencesAtTheDepthAskedFor) {
  int64_t longest = 0;
  for (const std::string_view sentence : needle_filler()) longest = std::max(longest, std::ssize(sentence));
  for (int64_t depth = 0; depth <= 100; depth += 5) {
    const NeedlePrompt prompt = make(3000, depth);
    const int64_t hay =
        std::ssize(prompt.ids) - 1 - std::ssize(prompt.fact.statement() + prompt.fact.question());
    EXPECT_LE(std::abs(prompt.fact_begin - 1 - hay * depth / 100), (longest + 1) / 2) << depth;
    const std::string before = text(prompt).substr(0, static_cast<size_t>(prompt.fact_begin - 1));
    EXPECT_TRUE(before.empty() || before.ends_with('.')) << before;
  }
  EXPECT_EQ(make(3000, 0).fact_begin, 1);
  const NeedlePrompt last = make(3000, 100);
  EXPECT_EQ(last.fact_end + std::ssize(last.fact.question()), std::ssize(last.ids));
}

TEST_F(NeedlePrompts, DependOnTheSeedAlone) {
  EXPECT_EQ(make(500, 50, 1).ids, make(500, 50, 1).ids);
  std::set<std::string> facts;
  for (uint64_t seed = 0; seed < 20; ++seed) facts.insert(make(500, 50, seed).fact.statement());
  EXPECT_GT(facts.size(), 15);
  EXPECT_NE(needle_rng(1, 2, 3, 4).next(), needle_rng(1, 2, 4, 3).next());
  EXPECT_EQ(needle_rng(1, 2, 3, 4).next(), needle_rng(1, 2, 3, 4).next());
}

TEST_F(NeedlePrompts, TakeTheHayFromATextThatIsGivenAsOftenAsNeeded) {
  const Haystack haystack(tokenizer_, "Ab cd. Ef gh.", 4096);
  Rng rng(3);
  const NeedlePrompt prompt = make_needle_prompt(tokenizer_, haystack, 300, 100, rng).value();
  const std::string all = text(prompt);
  EXPECT_NE(all.find(" Ef gh.Ab cd. Ef gh.Ab cd."), all.npos) << all;
}

TEST_F(NeedlePrompts, TooShortALengthIsAnErrorThatNamesTheLeast) {
  Rng rng(7);
  const auto prompt = make_needle_prompt(tokenizer_, haystack_, 40, 0, rng);
  ASSERT_FALSE(prompt.ok());
  const NeedlePrompt fits = make(100, 0);
  const int64_t least = 1 + std::ssize(fits.fact.statement() + fits.fact.question()) + fits.answer_tokens;
  EXPECT_NE(prompt.error().message.find(std::to_string(least)), std::string::npos) << prompt.error().message;
  EXPECT_TRUE(make_needle_prompt(tokenizer_, haystack_, least, 50, rng = Rng(7)).ok());
  EXPECT_FALSE(make_needle_prompt(tokenizer_, haystack_, least - 1, 50, rng = Rng(7)).ok());
}

TEST(Haystack, DoesNotAddASpaceWhereTheTokenizerWould) {
  Vocabulary vocabulary = testing::byte_vocabulary(288);
  vocabulary.add_dummy_prefix = true;
  const Tokenizer tokenizer = Tokenizer::create(std::move(vocabulary)).value();
  Rng rng(1);
  const NeedlePrompt prompt =
      make_needle_prompt(tokenizer, Haystack(tokenizer, "", 100), 200, 50, rng).value();
  EXPECT_EQ(tokenizer.decode(prompt.ids).find("  "), std::string::npos);
}

}  // namespace
}  // namespace ringflash
