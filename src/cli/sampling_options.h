// What the commands that generate text share.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>

#include "runtime/generate.h"

namespace ringflash::cli {

/// --temperature, --top-k, --top-p, --repetition-penalty, --seed.
void add_sampling_options(CLI::App& app, SamplingOptions& sampling);

/// How long it took, on stderr.
void print_timing(const GenerateReport& report);

/// Counts, speeds and why it stopped.
nlohmann::ordered_json to_json(const GenerateReport& report);

}  // namespace ringflash::cli
