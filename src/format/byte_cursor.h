// Reads a binary format front to back.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "base/result.h"

namespace ringflash {

static_assert(std::endian::native == std::endian::little, "files are little endian and read as they are");

/// Every read is checked against what is left; errors name the byte at which the thing read starts.
class ByteCursor {
 public:
  explicit ByteCursor(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

  /// An error about what was read last.
  Error wrong(const std::string& expected, const std::string& found) const {
    return Error{"byte " + std::to_string(last_) + ": expected " + expected + ", found " + found};
  }

  Result<std::span<const std::byte>> take(uint64_t size, const char* what) {
    last_ = offset_;
    if (size > remaining()) {
      return wrong(std::to_string(size) + " bytes for " + what,
                   std::to_string(remaining()) + " before the end");
    }
    offset_ += size;
    return bytes_.subspan(last_, size);
  }

  template <typename T>
  Result<T> number(const char* what) {
    RF_TRY(const auto raw, take(sizeof(T), what));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  Result<bool> boolean(const char* what) {
    RF_TRY(const auto byte, number<uint8_t>(what));
    if (byte <= 1) return byte == 1;
    return wrong("a bool (0 or 1)", std::to_string(byte));
  }

  /// A u64 length and that many bytes.
  Result<std::string> string(const char* what, uint64_t max_bytes = ~0ull) {
    RF_TRY(const auto size, number<uint64_t>(what));
    if (size > max_bytes) {
      return wrong(std::string(what) + " of at most " + std::to_string(max_bytes) + " bytes",
                   std::to_string(size));
    }
    RF_TRY(const auto raw, take(size, what));
    return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
  }

  /// A u64 count of things that take at least `min_bytes` each: bounded by what is left, so that nothing is
  /// allocated for things that are not there.
  Result<uint64_t> count(const char* what, uint64_t min_bytes) {
    RF_TRY(const auto n, number<uint64_t>(what));
    if (n <= remaining() / min_bytes) return n;
    return wrong(std::string(what) + " that fits the " + std::to_string(remaining()) + " bytes left",
                 std::to_string(n));
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t offset_ = 0, last_ = 0;
};

}  // namespace ringflash
