// A model of any shape with random weights, as a file: what speed is measured on where quality does not matter.
#pragma once

#include <filesystem>

#include "base/executor.h"
#include "model/config.h"

namespace ringflash::bench {

/// Writes a GGUF with bf16 matrices that keep activations near 1, and a vocabulary of invented pieces.
Status write_random_model(const std::filesystem::path& path, const ModelConfig& config, Executor& executor);

}  // namespace ringflash::bench
