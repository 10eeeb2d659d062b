// The alphabet of byte-level BPE: every byte as a printable character, as GPT-2 introduced it (Radford et al.
// 2019).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ringflash {

/// The character of each byte, in UTF-8: printable Latin-1 stands for itself, the 68 others are U+0100 and
/// up, so that a space is U+0120.
std::string to_byte_alphabet(std::string_view bytes);

/// The bytes that a text in the alphabet stands for; none if it has other characters.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace ringflash
