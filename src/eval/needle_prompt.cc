#include "eval/needle_prompt.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "base/hash.h"

namespace ringflash {
namespace {

/// Ids of a text that continues another one: it begins with the space that some tokenizers would add.
std::vector<int32_t> encode_continuation(const Tokenizer& tokenizer, std::string_view text) {
  if (tokenizer.vocabulary().add_dummy_prefix && text.starts_with(' ')) text.remove_prefix(1);
  return tokenizer.encode(text);
}

int64_t nearest(const std::vector<int64_t>& places, int64_t wanted) {
  return *std::min_element(places.begin(), places.end(), [wanted](int64_t a, int64_t b) {
    return std::abs(a - wanted) < std::abs(b - wanted);
  });
}

template <typename Choices>
const auto& draw(const Choices& choices, Rng& rng) {
  return choices[rng.below(choices.size())];
}

}  // namespace

Rng needle_rng(uint64_t seed, int64_t length, int64_t depth, int64_t sample) {
  return Rng(hash_bytes(std::to_string(seed) + ' ' + std::to_string(length) + ' ' + std::to_string(depth) +
                        ' ' + std::to_string(sample)));
}

Haystack::Haystack(const Tokenizer& tokenizer, std::string_view text, int64_t most_tokens) {
  const auto given = split_sentences(text);
  const std::span<const std::string_view> sentences = given.empty() ? needle_filler() : std::span(given);
  int64_t tokens = 0;
  for (const std::string_view sentence : sentences) {
    if (tokens >= most_tokens && !sentences_.empty()) break;
    sentences_.push_back(encode_continuation(tokenizer, sentence));
    tokens += std::ssize(sentences_.back());
  }
  RF_CHECK(tokens > 0);
}

Hay Haystack::take(int64_t tokens, Rng& rng) const {
  Hay hay;
  std::vector<int64_t> ends;
  for (size_t next = rng.below(sentences_.size()); std::ssize(hay.ids) < tokens; ++next) {
    const std::vector<int32_t>& sentence = sentences_[next % sentences_.size()];
    hay.ids.insert(hay.ids.end(), sentence.begin(), sentence.end());
    ends.push_back(std::ssize(hay.ids));
  }
  const int64_t excess = std::ssize(hay.ids) - tokens;
  hay.ids.erase(hay.ids.begin(), hay.ids.begin() + excess);
  hay.ends.push_back(0);
  for (const int64_t end : ends) hay.ends.push_back(end - excess);
  return hay;
}

Result<NeedlePrompt> make_needle_prompt(const Tokenizer& tokenizer, const Haystack& haystack, int64_t length,
                                        int64_t depth, Rng& rng) {
  NeedlePrompt prompt;
  const NeedleTopic& topic = draw(needle_topics(), rng);
  prompt.fact = {topic.key, draw(topic.values, rng)};
  const std::vector<int32_t> fact = encode_continuation(tokenizer, prompt.fact.statement());
  const std::vector<int32_t> question = encode_continuation(tokenizer, prompt.fact.question());
  prompt.answer_tokens = std::ssize(encode_continuation(tokenizer, " " + std::string(prompt.fact.value)));
  const int64_t bos = tokenizer.vocabulary().add_bos ? 1 : 0;
  const int64_t least = bos + std::ssize(fact) + std::ssize(question) + prompt.answer_tokens;
  if (length < least) {
    return Error{"a length of " + std::to_string(length) +
                 " tokens is too short: the fact, its question and the answer take " + std::to_string(least)};
  }
  const Hay hay = haystack.take(length - least, rng);
  const int64_t place = nearest(hay.ends, std::ssize(hay.ids) * depth / 100);
  prompt.ids.reserve(static_cast<size_t>(length));
  if (bos == 1) prompt.ids.push_back(tokenizer.vocabulary().bos_id);
  prompt.ids.insert(prompt.ids.end(), hay.ids.begin(), hay.ids.begin() + place);
  prompt.fact_begin = std::ssize(prompt.ids);
  prompt.ids.insert(prompt.ids.end(), fact.begin(), fact.end());
  prompt.fact_end = std::ssize(prompt.ids);
  prompt.ids.insert(prompt.ids.end(), hay.ids.begin() + place, hay.ids.end());
  prompt.ids.insert(prompt.ids.end(), question.begin(), question.end());
  return prompt;
}

}  // namespace ringflash
