// How `ringflash bench` says what it measured: JSON as DESIGN section 8 has it, or a table.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/peak.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "model/config.h"

namespace ringflash::cli {

struct BenchReport {
  std::string command;  ///< "bench attention"
  nlohmann::ordered_json machine, settings;
  std::vector<nlohmann::ordered_json> rows;  ///< all with the same keys
};

/// What is known of the machine: processor, memory, kernels in force, threads used.
nlohmann::ordered_json describe_machine(int threads);

/// {"fp32_fma": 312.1, ...}, in GFLOP/s of all threads.
nlohmann::ordered_json describe_peaks(const bench::PeakMeter& peak);

/// The number to four digits, or null.
nlohmann::ordered_json rounded(std::optional<double> value);

Status write_report(const BenchReport& report, bool json);

/// A line on stderr.
void remark(std::string_view text);

/// --n N,N,...
void add_lengths(CLI::App& app, std::vector<int64_t>& lengths);

/// --window, --stride, --global-ratio, each of which is none unless given.
struct RingOptions {
  std::optional<int64_t> window, stride;
  std::optional<double> global_ratio;

  void apply(RingGeometry& ring) const;
};
void add_ring_options(CLI::App& app, RingOptions& options);

nlohmann::ordered_json to_json(const RingGeometry& ring);

}  // namespace ringflash::cli
