// Settles what a run is: its recipe, its model's config, and where its weights and tokenizer come from.
#pragma once

#include <filesystem>
#include <optional>

#include "model/config.h"
#include "train/train_config.h"
#include "train/trainer.h"

namespace ringflash {

struct RunSetup {
  TrainConfig recipe;
  ModelConfig model;
  std::optional<std::filesystem::path> resume_from;  ///< a checkpoint of this run
  std::optional<std::filesystem::path> tokenizer;    ///< a directory with its files, where not trained anew
};

/// Resuming takes recipe and model from the checkpoint: of the settings only those that leave what was trained
/// so far valid (max_steps, learning_rate, saving, evaluation, ...) may differ; others are errors.
Result<RunSetup> set_up_run(const TrainRequest& request);

}  // namespace ringflash
