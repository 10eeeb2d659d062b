// Model directories as Hugging Face's transformers saves them.
#pragma once

#include <filesystem>

#include "import/imported_model.h"

namespace ringflash {

/// config.json with model.safetensors or its shards (model.safetensors.index.json). model_type llama, mistral, qwen2, qwen3,
/// gemma3_text, and the text half of gemma3. What would change the arithmetic and is not known is refused by its name.
Result<ImportedModel> read_hf_directory(const std::filesystem::path& directory);

}  // namespace ringflash
