// `ringflash bench prefill`: reading a long prompt with a whole model, against its full twin.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "bench/rounds.h"
#include "model/config.h"

namespace ringflash::bench {

struct PrefillRow {
  std::string name;  ///< a Variant
  int64_t n;
  std::optional<double> ms, tokens_per_s, speedup_vs_full;
  int64_t cache_bytes;  ///< of the whole model at n; 0 where it did not run
  int rounds;
  std::string skipped;  ///< why ms is missing
};

/// Measures the model in `file` with each variant of attention in its ring layers, on the same weights and the same
/// random tokens. Before anything is timed, a prompt so short that a ring sees all of it must give the logits of the
/// full twin.
Result<std::vector<PrefillRow>> bench_prefill(const std::filesystem::path& file, const std::vector<int64_t>& lengths,
                                              const RoundOptions& options, Executor& executor,
                                              const std::function<void(std::string_view)>& remark);

}  // namespace ringflash::bench
