// `ringflash train`: from text and a recipe to checkpoints. No libtorch in this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace ringflash {

struct TrainRequest {
  std::vector<std::filesystem::path> data;
  std::filesystem::path out;
  std::string preset = "nano";
  std::optional<std::filesystem::path> config;  ///< a config.json instead of a preset
  std::optional<std::filesystem::path> from;    ///< a checkpoint to start from: config, weights and tokenizer
  std::optional<std::filesystem::path> teacher;  ///< a checkpoint to distil from, of the same vocabulary
  /// key = value, of the recipe (train_config.h) or of the model (config.json's keys).
  std::vector<std::pair<std::string, std::string>> settings;
  bool resume = false;  ///< go on from `out`'s newest checkpoint, or start where there is none
  int threads = 0;      ///< 0: all processors
  bool quiet = false;   ///< no progress bar, no remarks
};

struct TrainReport {
  std::filesystem::path checkpoint;
  int64_t steps = 0, tokens = 0, parameters = 0;
  /// Multiply-accumulates of one step, backward counted twice, as trained in the end and of the dense twin with full
  /// attention.
  double step_macs = 0, dense_step_macs = 0;
  int64_t optimizer_bytes = 0;                             ///< of AdamW's moments
  double seconds = 0;                                      ///< of training, over all sessions
  double first_bits_per_byte = 0, last_bits_per_byte = 0;  ///< held out, at step 0 and at the end
  double last_accuracy = 0;
  std::filesystem::path best;  ///< what had the lowest held-out loss, at best_step; empty where nothing was kept
  double best_heldout = 0;     ///< nats per token
  int64_t best_step = 0;
  bool interrupted = false;  ///< SIGINT or SIGTERM: saved, can be resumed
  bool first_process = true;  ///< the one that speaks for all
};

/// Runs to max_steps. Errors: bad settings, unusable data, an `out` that already holds a run (without
/// `resume`), a loss that is not finite, a checkpoint that cannot be saved; what was saved before stays.
Result<TrainReport> run_training(const TrainRequest& request);

}  // namespace ringflash
