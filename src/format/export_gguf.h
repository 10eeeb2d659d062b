// Checkpoint directory to deployed model: one GGUF with the tokenizer inside.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "format/checkpoint.h"

namespace ringflash {

enum class ExportFormat { kF32, kBF16, kQ8, kQ4, kQ4_1, kQ5_0, kAuto, kS8, kS4 };

Result<ExportFormat> parse_export_format(const std::string& text);

struct ExportReport {
  uint64_t file_bytes = 0, linear_bytes = 0, embedding_bytes = 0, other_bytes = 0;
  uint64_t linear_fp16_bytes = 0, fp16_bytes = 0;  ///< what the linear weights, deltas included, and all weights, would take as FP16
};

/// kF32, kBF16: linear and embedding tensors as F32 or BF16; kQ8: as Q8_0. kQ4_1: linear ones as Q4_1; kAuto: those as Q4_0 or
/// Q4_1 that are so without loss, as they are in models that were imported from files of 4 bits; kQ4: the same, and the others
/// as Q4_0, too. kS4 and kS8: those whose pattern
/// is fine (ModelConfig::sparsity) in these formats, their zeros being the pruned weights; then embeddings and all other
/// linear tensors are Q8_0. Rows that are no multiple of a block (32, and 64 if sparse) stay BF16. Deltas of shared weights are BF16 but
/// in kF32. Norms and routers stay F32: they are tiny, and a flipped selection is a discontinuity. `progress` gets (tensors done, total).
Result<ExportReport> export_gguf(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                 ExportFormat format, const std::function<void(int64_t, int64_t)>& progress);

}  // namespace ringflash
