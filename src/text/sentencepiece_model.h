// Reads the pieces out of sentencepiece's tokenizer.model (a protobuf message), without protobuf.
#pragma once

#include <string_view>

#include "text/vocabulary.h"

namespace ringflash {

/// `bytes` is the file's content. Only BPE and unigram models without a normaliser are accepted; the error
/// says where and why.
Result<Vocabulary> parse_sentencepiece_model(std::string_view bytes);

}  // namespace ringflash
