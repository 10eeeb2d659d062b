// Checks of option values, for the commands' add_options().
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <limits>

namespace ringflash::cli {

/// For Option::transform(): takes a decimal integer in [least, most] and nothing else. CLI11's own conversion
/// wraps a negative seed round, saturates what overflows and reads 010 as octal.
CLI::Validator whole_number(int64_t least = 0, int64_t most = std::numeric_limits<int64_t>::max());

}  // namespace ringflash::cli
