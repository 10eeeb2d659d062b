// `ringflash bench linear`: products with one weight matrix in each stored format, from memory that no cache holds.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/rounds.h"

namespace ringflash::bench {

struct LinearBenchOptions {
  int64_t in = 8192, out = 8192;
  int64_t weight_bytes = int64_t{1} << 30;      ///< as bf16, of all copies of the matrix together, at least
  std::vector<int64_t> tokens = {1, 64, 256};   ///< 1: matrix-vector
  std::vector<int> threads = {1, 2};
  bool onednn = true;  ///< compare with oneDNN where ringflash-onednn is installed
  RoundOptions rounds;
};

/// One line of the report: ms is of one product.
struct LinearRow {
  std::string name;  ///< "s4", "s8", "q5_0", "q4_1", "q4_0", "q8_0", "bf16", "dram_read", "onednn_int8", "onednn_bf16"
  int64_t tokens;    ///< 0 for dram_read
  int threads;
  std::optional<double> ms, gb_per_s, dram_fraction;
  std::optional<double> speedup_vs_bf16, speedup_vs_q8_0, speedup_vs_q4_0;      ///< ours
  std::optional<double> speedup_vs_onednn_int8, speedup_vs_onednn_bf16;
};

/// The weights are random, 12 of 64 for S4 and S8. Each format's product is checked against the scalar reference before
/// it is timed; one that is off is an error. `remark` gets a line now and then.
Result<std::vector<LinearRow>> bench_linear(const LinearBenchOptions& options,
                                            const std::function<void(std::string_view)>& remark);

}  // namespace ringflash::bench
