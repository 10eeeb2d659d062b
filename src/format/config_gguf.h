// The config and the vocabulary as GGUF metadata: the standard keys with the prefix "ringflash.", and ours.
#pragma once

#include "format/gguf.h"
#include "model/config.h"
#include "text/vocabulary.h"

namespace ringflash {

void write_config(const ModelConfig& config, GgufWriter& writer);
Result<ModelConfig> read_config(const GgufFile& file);

/// tokenizer.ggml.{model,tokens,scores,token_type,bos_token_id,...}, model "llama" as GGUF tools expect of
/// sentencepiece BPE.
void write_vocabulary(const Vocabulary& vocabulary, GgufWriter& writer);
Result<Vocabulary> read_vocabulary(const GgufFile& file);

}  // namespace ringflash
