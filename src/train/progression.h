// Where a training run stands, besides its weights and its optimiser: trainer_state/state.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "train/loss_guard.h"
#include "train/loss_scaler.h"

namespace ringflash {

/// What a run needs to go on as if never stopped.
struct Progression {
  int64_t step = 0;             ///< optimiser steps done
  int64_t rows = 0;             ///< rows of the data order consumed
  int64_t optimizer_steps = 0;  ///< the optimiser's own count
  LossGuard guard = {};
  LossScaler scaler = {};
  uint64_t data = 0;            ///< TokenDataset::fingerprint() of what is trained on
  double seconds = 0;           ///< spent training, over all sessions
  double first_heldout = 0;     ///< held-out bits per byte before the first step
  std::optional<double> best_heldout = {};  ///< the loss of what save_best kept
  int64_t best_step = 0;
  std::string teacher = {};     ///< the checkpoint that is distilled from, an absolute path; empty for none
  uint64_t teacher_hash = 0;    ///< of its weights
};

std::string progression_to_json(const Progression& progression);

/// Errors name the key, what was expected, and what was found.
Result<Progression> progression_from_json(std::string_view text);

}  // namespace ringflash
