// GGUF files of other models, as llama.cpp's converter writes them.
#pragma once

#include <filesystem>

#include "import/imported_model.h"

namespace ringflash {

/// Architectures llama, qwen2, qwen3 and gemma3. What would change the arithmetic and is not known is refused by its
/// name: architectures, tensor types, metadata of the architecture, tensors.
Result<ImportedModel> read_foreign_gguf(const std::filesystem::path& file);

}  // namespace ringflash
