// The names of byte pieces, "<0x00>" to "<0xFF>".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ringflash {

inline std::optional<uint8_t> parse_byte_piece(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const size_t high = kDigits.find(text[3]), low = kDigits.find(text[4]);
  if (high == kDigits.npos || low == kDigits.npos) return std::nullopt;
  return static_cast<uint8_t>(high * 16 + low);
}

}  // namespace ringflash
