// A training run as one HTML page: figures, curves and settings.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "report/run_metrics.h"

namespace ringflash {

inline constexpr const char* kReportFile = "report.html";

struct RunRecord {
  std::string name;  ///< any text
  RunMetrics metrics;
  /// Keys and values of the newest checkpoint's recipe and model; empty before the first.
  std::vector<std::pair<std::string, std::string>> recipe, model;
};

/// Error: there is no metrics.jsonl, or it cannot be read.
Result<RunRecord> read_run(const std::filesystem::path& run);

/// Needs nothing from elsewhere, suits light and dark screens, and is well-formed XML but for its doctype. Figures
/// stand in <data value="..."> elements with all their digits.
std::string run_report_html(const RunRecord& record);

/// The lowest loss of a held-out series, and its place; the first of equals. Not of an empty one.
struct BestHeldout {
  double step, loss;
};
BestHeldout best_heldout(const Series& heldout_loss);

/// read_run, and its page into `file`, all or nothing.
Status write_run_report(const std::filesystem::path& run, const std::filesystem::path& file);

}  // namespace ringflash
