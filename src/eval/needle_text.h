// The wording of the needle test: facts, the questions that ask for them, and the text they hide in. Evaluation and the
// training text of recipes/needle/ take it from here.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringflash {

/// Nouns that facts are about, and nouns that are told of them; no word stands in both lists.
std::span<const std::string_view> needle_keys();
std::span<const std::string_view> needle_values();

struct Fact {
  std::string_view key, value;

  std::string statement() const;  ///< " The code of KEY is VALUE."
  std::string question() const;   ///< " The code of KEY is": the value has to follow
};

/// Sentences that follow one another in a circle; they say nothing of codes.
std::span<const std::string_view> needle_filler();

/// Cuts a text behind ".", "!", "?" and line ends (and any longer run without one at 256 bytes or less, between
/// characters). Each sentence keeps the white space before it; together they are the text.
std::vector<std::string_view> split_sentences(std::string_view text);

}  // namespace ringflash
