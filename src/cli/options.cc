#include "cli/options.h"

#include <charconv>
#include <string>

namespace ringflash::cli {

CLI::Validator whole_number(int64_t least, int64_t most) {
  const auto take = [least, most](std::string& text) -> std::string {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole && value >= least && value <= most) {
      text = std::to_string(value);
      return {};
    }
    return "must be a whole number from " + std::to_string(least) + " to " + std::to_string(most) +
           ", not '" + text + "'";
  };
  return {take, /*validator_desc=*/""};
}

}  // namespace ringflash::cli
