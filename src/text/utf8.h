// One UTF-8 character at a time, strictly: overlong forms, surrogates and codes above U+10FFFF are invalid.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace ringflash {

/// U+2581, sentencepiece's visible stand-in for the space.
inline constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";
inline constexpr char32_t kSpaceSymbolCode = 0x2581;

struct Utf8Char {
  enum class Kind {
    kValid,
    kInvalid,    ///< no continuation of these bytes is a character
    kTruncated,  ///< the text ends inside what may be a character
  };
  char32_t code = 0;  ///< if valid
  size_t size = 0;  ///< bytes taken; of an invalid one, Unicode's "maximal subpart" that one U+FFFD replaces
  Kind kind = Kind::kInvalid;
};

/// The character that `text`, which is not empty, begins with.
inline Utf8Char first_utf8_char(std::string_view text) {
  using Kind = Utf8Char::Kind;
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1, Kind::kValid};
  if (lead < 0xC2 || lead > 0xF4) return {0, 1, Kind::kInvalid};
  const size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  char32_t code = lead & (0x7Fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if (i == text.size()) return {0, i, Kind::kTruncated};
    // Only the second byte's range depends on the lead (Unicode standard, table 3-7).
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1 && lead == 0xE0) low = 0xA0;
    if (i == 1 && lead == 0xED) high = 0x9F;
    if (i == 1 && lead == 0xF0) low = 0x90;
    if (i == 1 && lead == 0xF4) high = 0x8F;
    if (byte(i) < low || byte(i) > high) return {0, i, Kind::kInvalid};
    code = (code << 6) | (byte(i) & 0x3Fu);
  }
  return {code, size, Kind::kValid};
}

/// The UTF-8 of a code point below 0x110000.
inline std::string to_utf8(char32_t code) {
  const auto tail = [code](int shift) { return static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
  const auto lead = [code](int mark, int shift) { return static_cast<char>(mark | static_cast<int>(code >> shift)); };
  if (code < 0x80) return {lead(0, 0)};
  if (code < 0x800) return {lead(0xC0, 6), tail(0)};
  if (code < 0x10000) return {lead(0xE0, 12), tail(6), tail(0)};
  return {lead(0xF0, 18), tail(12), tail(6), tail(0)};
}

}  // namespace ringflash
