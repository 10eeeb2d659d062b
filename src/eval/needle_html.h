// The needle test's result as one HTML file: a heat map of depth by length.
#pragma once

#include <string>
#include <string_view>

#include "eval/needle.h"

namespace ringflash {

/// What the page says besides the figures.
struct NeedlePage {
  std::string_view model;  ///< the file's name; any text, it is escaped
  const ModelConfig& config;
  int64_t parameters = 0;
};

/// Needs nothing from elsewhere, and suits light and dark screens.
std::string needle_html(const NeedleReport& report, const NeedlePage& page);

}  // namespace ringflash
