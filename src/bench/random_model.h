// A model of any shape with random weights, as a file: what speed is measured on where quality does not matter.
#pragma once

#include <filesystem>
#include <string>

#include "base/executor.h"
#include "bench/stored_matrix.h"
#include "model/config.h"

namespace ringflash::bench {

/// The presets' shapes and "1b": 1.1 billion parameters as TinyLlama has them.
Result<ModelConfig> random_model_config(const std::string& name);

/// Writes a GGUF with matrices that keep activations near 1, and a vocabulary of invented pieces. Linear weights are in
/// `format`, embeddings in bf16 if these are, else Q8_0.
Status write_random_model(const std::filesystem::path& path, const ModelConfig& config, StoredFormat format,
                          Executor& executor);

}  // namespace ringflash::bench
