// Checkpoint directory to deployed model: one GGUF with the tokenizer inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "format/checkpoint.h"

namespace ringflash {

enum class ExportFormat { kBF16, kQ8, kS4, kS8 };

Result<ExportFormat> parse_export_format(const std::string& text);

struct ExportReport {
  uint64_t file_bytes = 0, linear_bytes = 0, embedding_bytes = 0, other_bytes = 0;
};

/// kBF16: linear and embedding tensors as BF16; kQ8: as Q8_0 (rows that are no multiple of 32 stay BF16); kS4 and kS8:
/// tensors of the fine sparse pattern as those, in whole groups of 64, the others as with kQ8. Norms and
/// routers stay F32: they are tiny, and a flipped selection is a discontinuity. `progress` gets (tensors done, total).
Result<ExportReport> export_gguf(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                 ExportFormat format, const std::function<void(int64_t, int64_t)>& progress);

}  // namespace ringflash
