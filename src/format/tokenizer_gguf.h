// The tokenizer as GGUF metadata: the standard tokenizer.ggml.* keys, and tokenizer.chat_template.
#pragma once

#include "format/gguf.h"
#include "text/vocabulary.h"

namespace ringflash {

/// tokenizer.ggml.model "gpt2" is byte-level BPE, whose pre-tokenizer has a name that GGUF tools know or else
/// its patterns under "ringflash.tokenizer.split_patterns"; "llama" sentencepiece BPE; "t5" unigram.
void write_vocabulary(const Vocabulary& vocabulary, GgufWriter& writer);

/// The error names the key, and what is not supported.
Result<Vocabulary> read_vocabulary(const GgufFile& file);

}  // namespace ringflash
