// Names out of a file, fit for an error message.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

namespace ringflash {

/// 'text' with anything but printable ASCII escaped, and cut where it is long: a hostile file must not write
/// to the user's terminal.
inline std::string in_quotes(std::string_view text) {
  constexpr size_t kMaxShown = 80;
  std::string out = "'";
  for (const char c : text.substr(0, kMaxShown)) {
    if (c >= 0x20 && c < 0x7f) {
      out += c;
    } else {
      char escaped[5];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned char>(c));
      out += escaped;
    }
  }
  return out + (text.size() > kMaxShown ? "...'" : "'");
}

}  // namespace ringflash
