// The wording of the needle test: facts, the questions that ask for them, and the text they hide in.
// Evaluation and the training text of recipes/needle/ take it from here.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringflash {

/// What a fact can be about, and what it can tell of that: nouns of one kind, so that the kind alone asks for
/// the value. No word stands in two lists, and none begins another of its own list.
struct NeedleTopic {
  std::string_view key;
  std::array<std::string_view, 24> values;
};
std::span<const NeedleTopic> needle_topics();

struct Fact {
  std::string_view key, value;

  std::string statement() const;  ///< " Remember the KEY VALUE."
  std::string question() const;   ///< " Remember the KEY": the value has to follow
};

/// Sentences that follow one another in a circle; they tell no secret.
std::span<const std::string_view> needle_filler();

/// Cuts a text behind ".", "!", "?" and line ends (and any longer run without one at 256 bytes or less,
/// between characters). Each sentence keeps the white space before it; together they are the text.
std::vector<std::string_view> split_sentences(std::string_view text);

}  // namespace ringflash
