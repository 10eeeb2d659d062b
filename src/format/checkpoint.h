// A checkpoint directory in Hugging Face layout: config.json, model.safetensors, the tokenizer's files, and the
// trainer's own trainer_state/. A training run's directory holds several, as checkpoint-<step>.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "format/safetensors.h"
#include "model/config.h"
#include "text/vocabulary.h"

namespace ringflash {

/// `path` itself if it holds a config.json, else its checkpoint-<step> with the highest step. The error says
/// what was looked for.
Result<std::filesystem::path> resolve_checkpoint(const std::filesystem::path& path);

/// The step of a directory named checkpoint-<step>, if it is one.
std::optional<int64_t> checkpoint_step(const std::filesystem::path& directory);

/// config.json, parsed by config_from_json; errors name the file.
Result<ModelConfig> load_config(const std::filesystem::path& file, int64_t least_positions = 0);

struct Checkpoint {
  std::filesystem::path directory;
  ModelConfig config;
  Vocabulary vocabulary;
  SafetensorsFile weights;  ///< holds every tensor of the inventory, with its shape, and no other
};

/// Opens and validates all of it.
Result<Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace ringflash
