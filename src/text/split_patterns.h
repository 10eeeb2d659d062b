// The published split patterns of well-known byte-level tokenizers, by the names that GGUF's
// tokenizer.ggml.pre has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// GPT-2's own pattern, which Hugging Face's ByteLevel pre-tokenizer applies by itself.
extern const std::string kGpt2Pattern;

struct SplitRules {
  std::vector<std::string> patterns;
  bool whole_words_first = false;

  bool operator==(const SplitRules&) const = default;
};

/// The rules of a name; the error lists the names there are.
Result<SplitRules> named_split_rules(std::string_view name);

/// The name of these rules, empty where they have none.
std::string name_of(const SplitRules& rules);

}  // namespace ringflash
