// Text that a small model can learn something from within seconds: sentences over a few hundred words, whose
// order follows a sparse chain.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"

namespace ringflash::testing {

inline std::vector<std::string> invent_words(size_t count, Rng& rng) {
  static constexpr const char* kSyllables[] = {"ba", "co", "di", "fu", "ga", "he", "ki", "lo", "mu", "na",
                                               "po", "ri", "sa", "te", "vo", "wi", "xe", "ya", "zu", "qua"};
  std::vector<std::string> words(count);
  for (std::string& word : words) {
    for (uint64_t i = 0, length = 1 + rng.below(3); i < length; ++i) word += kSyllables[rng.below(20)];
  }
  return words;
}

/// One document of about `bytes` bytes. The same seed gives the same text; documents of one `language` share words
/// and their order.
inline std::string prose(size_t bytes, uint64_t seed, uint64_t language = 1) {
  constexpr uint64_t kWords = 300, kFollowers = 4;
  Rng dictionary(language);
  const std::vector<std::string> words = invent_words(kWords, dictionary);
  std::vector<uint64_t> followers(kWords * kFollowers);
  for (uint64_t& follower : followers) follower = dictionary.below(kWords);
  Rng rng(seed);
  std::string text;
  uint64_t word = rng.below(kWords);
  while (text.size() < bytes) {
    text += words[word];
    text += rng.below(12) == 0 ? ".\n" : " ";
    word = followers[word * kFollowers + rng.below(kFollowers)];
  }
  return text;
}

}  // namespace ringflash::testing
