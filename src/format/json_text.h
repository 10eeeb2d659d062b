// JSON from outside: the one place where nlohmann's parser meets files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ringflash {

/// Parses strictly: duplicate keys and nesting deeper than any of our files needs are errors. Syntax errors
/// give line and column.
Result<nlohmann::json> parse_json(std::string_view text);

/// A value as an error message shows it: JSON text, cut where it is long.
std::string show(const nlohmann::json& value);

}  // namespace ringflash
