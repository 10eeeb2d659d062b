// Brings another model's tokenizer into a checkpoint directory.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace ringflash {

/// `source` is a GGUF file, or a directory with Hugging Face's tokenizer.json or sentencepiece's
/// tokenizer.model. A directory's files are copied as they are, a GGUF's keys become tokenizer.json and
/// tokenizer_config.json. Errors: what is not supported, by name.
Status import_tokenizer(const std::filesystem::path& source, const std::filesystem::path& out_directory);

}  // namespace ringflash
