// What a run's metrics.jsonl says, as series over the steps.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

/// A quantity over the steps; both vectors have one length, steps ascend.
struct Series {
  std::vector<double> steps, values;

  void add(double step, double value) {
    steps.push_back(step);
    values.push_back(value);
  }
  bool empty() const { return values.empty(); }
};

struct SkippedEvent {
  int64_t step;
  std::string reason;
};

/// Series without a number in the log are empty.
struct RunMetrics {
  Series loss, heldout_loss, heldout_bits_per_byte, heldout_accuracy;
  Series learning_rate, grad_norm, loss_scale;
  Series tokens_per_s, peak_memory;         ///< bytes
  Series sparsity, churn, kept_energy;      ///< shares of the sparse weights: absent, come or gone at an update
  std::vector<SkippedEvent> skipped;
  int64_t steps = 0, tokens = 0;
  double seconds = 0;
  int64_t unreadable_lines = 0;  ///< such as the last one after a kill
};

RunMetrics parse_metrics(std::string_view text);

/// Of metrics.jsonl in a run's folder. Error: it cannot be read.
Result<RunMetrics> read_metrics(const std::filesystem::path& run);

}  // namespace ringflash
