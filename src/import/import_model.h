// `ringflash import`: a model of another kind becomes a checkpoint directory.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>

#include "import/imported_model.h"
#include "import/ring_conversion.h"

namespace ringflash {

struct ImportOptions {
  bool force = false;                                            ///< whether an existing checkpoint is replaced
  std::optional<RingConversion> ring = {};                       ///< what becomes of full attention
  std::function<void(int64_t, int64_t)> progress = [](int64_t, int64_t) {};  ///< (tensors done, total)
};

struct ImportReport {
  std::string architecture;
  ModelConfig config;
  std::map<std::string, int64_t> stored_types;
  uint64_t weight_bytes = 0;  ///< of model.safetensors
};

/// Makes the directory if need be; the error says so where something is there that is not to be replaced.
Status prepare_import(const std::filesystem::path& out, bool force);

/// `source` is a GGUF file (import_gguf.h) or a Hugging Face directory (import_hf.h). Writes model.safetensors, the
/// tokenizer's files and, last, config.json, without which the directory is no checkpoint.
Result<ImportReport> import_model(const std::filesystem::path& source, const std::filesystem::path& out,
                                  const ImportOptions& options);

}  // namespace ringflash
