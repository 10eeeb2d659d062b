// `ringflash-train compress`: a trained dense model made sparse and small at once, layer by layer, and healed
// by distillation from what it was. No libtorch in this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "model/sparsity.h"

namespace ringflash {

struct CompressRequest {
  std::filesystem::path from;   ///< a checkpoint
  std::filesystem::path out;    ///< must not exist yet
  std::filesystem::path calib;  ///< text like that which the model will see
  SparsityConfig sparsity{.pattern = SparsePattern::kFine, .keep = 12, .weight_bits = 4};
  std::string method = "obs";               ///< magnitude, wanda or obs (one_shot.h)
  int64_t calib_tokens = 65536;             ///< at most this many
  int64_t heal_steps = 0;                   ///< of training by distillation afterwards, on `data`
  std::vector<std::filesystem::path> data;  ///< empty: the calibration text
  /// More of healing's recipe (train_config.h), key and value.
  std::vector<std::pair<std::string, std::string>> heal_settings;
  int threads = 0;                          ///< 0: all processors
  bool quiet = false;
};

struct CompressReport {
  std::filesystem::path checkpoint;  ///< to export, or to train on from
  std::filesystem::path one_shot;    ///< what healing started from; without it the same
  int64_t linear_weights = 0, active_weights = 0;
  int64_t tokens = 0;  ///< calibrated on
  /// Nats per token of the calibration text's end, which was not calibrated on: before, after, and healed.
  double loss_before = 0, loss_after = 0, loss_healed = 0;
  double seconds = 0;
};

/// Inputs are those of the layers as compressed so far, so that each makes up for the ones before it, for `obs` beside
/// those of the dense model; memory holds one layer's statistics. Errors: files that cannot be read or written, a text shorter than two
/// sequences, settings that do not fit together.
Result<CompressReport> compress_model(const CompressRequest& request);

}  // namespace ringflash
