// A minimal protobuf writer, for the sentencepiece models that tests make.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

namespace ringflash::testing {

inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}

inline std::string number_field(uint32_t number, uint64_t value) { return varint(number << 3) + varint(value); }

inline std::string bytes_field(uint32_t number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}

inline std::string float_field(uint32_t number, float value) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &value, 4);
  return varint(number << 3 | 5) + bits;
}

/// A piece of a ModelProto; `type` as in text/vocabulary.h.
inline std::string piece_field(const std::string& text, float score, int type) {
  return bytes_field(
      1, bytes_field(1, text) + float_field(2, score) + number_field(3, static_cast<uint64_t>(type)));
}

}  // namespace ringflash::testing
