// Trains a sentencepiece BPE tokenizer with byte fallback on the training documents.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace ringflash {

struct TokenizerTraining {
  int64_t vocab_size = 4096;
  int threads = 2;
  uint64_t max_bytes = 32 << 20;  ///< of text looked at, sampled evenly over the documents
};

/// Ids: 0 <unk>, 1 <s>, 2 </s>, then 256 bytes, then merges. Identity normaliser, no dummy prefix, whitespace kept,
/// so that decode(encode(x)) == x for any bytes. Returns the model file's bytes. Errors: too little text for the
/// vocabulary (the message says which size would do).
Result<std::string> train_tokenizer(const std::vector<std::string>& documents, const TokenizerTraining& options);

}  // namespace ringflash
