// Saving and restoring a training run: model, optimiser and position in the data, all or nothing.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "model/config.h"
#include "train/causal_lm.h"
#include "train/optimizer.h"
#include "train/progression.h"
#include "train/sparsifier.h"
#include "train/train_config.h"

namespace ringflash {

/// The model's weights by name: what is trained.
std::vector<AdamW::Parameter> parameters_of(const CausalLm& model);

/// Writes `run`/checkpoint-<step> in Hugging Face layout plus trainer_state/. model.safetensors holds sparse
/// weights as the layers see them but unquantised, zeros where they are absent. It is built aside as
/// checkpoint-<step>.tmp, flushed, and renamed; then checkpoints beyond save_total_limit are deleted, oldest
/// first. On an error (disk full, no permission) the earlier ones are untouched.
Result<std::filesystem::path> save_checkpoint(const std::filesystem::path& run, const CausalLm& model,
                                              const AdamW& optimizer, const Sparsifier& sparsifier,
                                              const Progression& progression, const TrainConfig& config,
                                              const std::filesystem::path& tokenizer);

/// Writes the model alone as a checkpoint directory, all or nothing; nothing may be there yet.
Status save_model(const std::filesystem::path& directory, const CausalLm& model,
                  const std::filesystem::path& tokenizer);

/// Writes the model alone, as save_checkpoint has it, to `run`/best in the place of what was there, all or nothing.
Status save_best(const std::filesystem::path& run, const CausalLm& model, const Sparsifier& sparsifier,
                 const std::filesystem::path& tokenizer);

/// Copies weights into the model; every tensor must be there with its shape.
Status load_weights(const std::filesystem::path& checkpoint, CausalLm& model);

/// Optimiser state, masks and what is behind them, and progression of a checkpoint this trainer wrote.
Result<Progression> load_trainer_state(const std::filesystem::path& checkpoint, AdamW& optimizer,
                                       Sparsifier& sparsifier);

/// The recipe a checkpoint was trained with.
Result<TrainConfig> load_train_config(const std::filesystem::path& checkpoint);

}  // namespace ringflash
