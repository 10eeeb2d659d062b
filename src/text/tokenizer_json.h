// Hugging Face's tokenizer.json and tokenizer_config.json.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "text/vocabulary.h"

namespace ringflash {

/// What tokenizer_config.json says of a tokenizer; absent keys are none.
struct TokenizerConfig {
  std::optional<std::string> bos, eos;  ///< the pieces' texts
  std::optional<bool> add_bos, add_dummy_prefix;
  std::string chat_template;
};

Result<TokenizerConfig> parse_tokenizer_config(std::string_view text);

/// `text` is tokenizer.json. Byte-level BPE, sentencepiece-like BPE with byte fallback (whose merges become
/// scores) and unigram; of normalisers NFC and what sentencepiece's spaces need; the
/// error names what else there is. BOS and EOS may be missing: -1.
Result<Vocabulary> parse_tokenizer_json(std::string_view text, const TokenizerConfig& config);

/// The two files' content.
std::string to_tokenizer_json(const Vocabulary& vocabulary);
std::string to_tokenizer_config(const Vocabulary& vocabulary);

}  // namespace ringflash
