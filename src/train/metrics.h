// metrics.jsonl: one line per event of a run, appended and flushed as it happens.
#pragma once

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"

namespace ringflash {

struct StepMetrics {
  int64_t step;  ///< steps done
  double loss;   ///< mean nats per target of this step
  double learning_rate;
  double grad_norm;  ///< before clipping
  int64_t tokens;    ///< seen since the start of the run
  double tokens_per_s;
  double seconds;       ///< since the start of the run, over all sessions
  int64_t peak_memory;  ///< bytes, of this session's process so far
  std::optional<double> loss_scale = {};
};

struct HeldoutMetrics {
  int64_t step;
  double loss;  ///< mean nats per token
  double bits_per_byte;
  int64_t tokens, bytes;
  double accuracy;  ///< share of next tokens whose likeliest guess is right
};

struct MaskMetrics {
  int64_t step;
  int64_t weights = 0, kept = 0;    ///< of all sparse matrices
  int64_t regrown = 0, pruned = 0;  ///< weights that came back at this update, and that went
  double kept_energy = 1;           ///< share of the squared weights that the kept ones have
};

struct SkippedBatch {
  int64_t step;        ///< done before it
  int64_t tokens;      ///< seen, those of the batch included
  std::string reason;
};

class MetricsLog {
 public:
  /// Opens `file` for appending. Lines of work that is done again are dropped: steps after `resume_step`, and
  /// the held-out evaluation at it.
  static Result<MetricsLog> open(const std::filesystem::path& file, int64_t resume_step);
  /// One that takes everything and writes nothing.
  static MetricsLog none() { return MetricsLog({}, nullptr); }
  MetricsLog(MetricsLog&& other) noexcept;
  MetricsLog& operator=(MetricsLog&& other) noexcept;
  ~MetricsLog();

  Status write(const StepMetrics& metrics);
  Status write(const HeldoutMetrics& metrics);
  Status write(const MaskMetrics& metrics);
  Status write(const SkippedBatch& skipped);

 private:
  MetricsLog(std::filesystem::path path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  Status append(const std::string& line);
  std::filesystem::path path_;
  std::FILE* file_;
};

}  // namespace ringflash
