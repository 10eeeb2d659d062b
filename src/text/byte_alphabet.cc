#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr char32_t kFirstShifted = 0x100;
constexpr char32_t kEnd = kFirstShifted + 68;

bool is_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int, kEnd> bytes{};  // by code; -1 where there is none

  Alphabet() {
    bytes.fill(-1);
    char32_t next = kFirstShifted;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t code = is_itself(byte) ? static_cast<char32_t>(byte) : next++;
      bytes[code] = byte;
      characters[static_cast<size_t>(byte)] = to_utf8(code);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += alphabet().characters[static_cast<unsigned char>(c)];
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  while (!text.empty()) {
    const Utf8Char c = first_utf8_char(text);
    if (c.kind != Utf8Char::Kind::kValid || c.code >= kEnd || alphabet().bytes[c.code] < 0)
      return std::nullopt;
    bytes += static_cast<char>(alphabet().bytes[c.code]);
    text.remove_prefix(c.size);
  }
  return bytes;
}

}  // namespace ringflash
