// The table of `ringflash compress --eval`: compressed models as they are deployed, side by side.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "format/export_gguf.h"

namespace ringflash::cli {

/// A text that models are measured on.
struct EvalText {
  std::string name, text;
};

struct TextScore {
  double bits_per_byte = 0;
  double accuracy = 0;  ///< share of tokens that were the model's first choice
};

struct TableRow {
  std::string name;
  double sparsity = 0;  ///< of the linear layers
  int64_t bits = 16;
  int64_t heal_steps = 0;
  uint64_t file_bytes = 0, linear_bytes = 0, embedding_bytes = 0;
  double tokens_per_s = 0;         ///< written one by one after a short prompt
  std::vector<TextScore> scores;   ///< of each text
};

/// Exports the checkpoint to `file`, and measures what is there.
Result<TableRow> measure_model(const std::filesystem::path& checkpoint, const std::filesystem::path& file,
                               ExportFormat format, const std::vector<EvalText>& texts, Executor& executor);

/// {"model": title, "rows": [...]}.
nlohmann::ordered_json table_json(const std::string& title, const std::vector<TableRow>& rows,
                                  const std::vector<EvalText>& texts);

/// A page; the first row is the one that the others are compared with.
std::string table_html(const std::string& title, const std::vector<TableRow>& rows,
                       const std::vector<EvalText>& texts);

}  // namespace ringflash::cli
