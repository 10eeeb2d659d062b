// Trains a sentencepiece BPE tokenizer with byte fallback on the training documents.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace ringflash {

struct TokenizerTraining {
  int64_t vocab_size = 4096;
  uint64_t max_bytes = 32 << 20;  ///< of text looked at, sampled evenly over the documents
};

/// Picks documents evenly, so that of `total` bytes about `max` are taken (all, if there are no more).
class EvenSample {
 public:
  EvenSample(uint64_t total, uint64_t max) : total_(total), max_(max) {}
  /// Whether the next document, of so many bytes, belongs to the sample.
  bool take(uint64_t bytes);

 private:
  uint64_t total_, max_, seen_ = 0, taken_ = 0;
};

/// Ids: 0 <unk>, 1 <s>, 2 </s>, then 256 bytes, then merges. Identity normaliser, no dummy prefix, whitespace
/// kept, so that decode(encode(x)) == x for any bytes. Returns the model file's bytes. Errors: too little
/// text for the vocabulary (the message says which size would do).
Result<std::string> train_tokenizer(const std::vector<std::string>& documents,
                                    const TokenizerTraining& options);

}  // namespace ringflash
