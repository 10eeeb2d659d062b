// Prompts of the needle test: one fact at a given depth of a text of an exact number of tokens, asked at its
// end.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/rng.h"
#include "eval/needle_text.h"
#include "text/tokenizer.h"

namespace ringflash {

/// A run of whole sentences, but for the first, which may lack its beginning.
struct Hay {
  std::vector<int32_t> ids;
  std::vector<int64_t> ends;  ///< where a fact may stand: 0, then the end of every sentence
};

/// The text that needles hide in, as the tokens of one model.
class Haystack {
 public:
  /// Cuts `text` into sentences and keeps as many from its beginning as have `most_tokens` tokens; an empty
  /// text stands for needle_filler().
  Haystack(const Tokenizer& tokenizer, std::string_view text, int64_t most_tokens);

  /// `tokens` tokens from a random sentence on, going round where the text ends.
  Hay take(int64_t tokens, Rng& rng) const;

 private:
  std::vector<std::vector<int32_t>> sentences_;
};

/// The random numbers of one prompt: they depend on nothing else than these four.
Rng needle_rng(uint64_t seed, int64_t length, int64_t depth, int64_t sample);

struct NeedlePrompt {
  std::vector<int32_t> ids;  ///< BOS, hay, the fact, hay, the question
  Fact fact;
  int64_t fact_begin = 0, fact_end = 0;  ///< positions of the fact's first token, and after its last one
  int64_t answer_tokens = 0;             ///< that the value has; with them, the text has the length asked for
};

/// Draws a fact and hay. The fact stands at the sentence's end nearest to `depth` percent of the hay (0:
/// right after BOS, 100: right before the question). Error: `length` is too short for fact, question and
/// answer.
Result<NeedlePrompt> make_needle_prompt(const Tokenizer& tokenizer, const Haystack& haystack, int64_t length,
                                        int64_t depth, Rng& rng);

}  // namespace ringflash
