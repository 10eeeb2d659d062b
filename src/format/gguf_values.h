// Small steps between GGUF's metadata values and ours.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "format/gguf.h"

namespace ringflash {

/// A u32, as GGUF's standard keys are, where it fits.
inline GgufValue integer_value(int64_t value) {
  if (std::in_range<uint32_t>(value)) return static_cast<uint32_t>(value);
  return value;
}

/// `elements` is their type's name in the error.
template <typename T>
Result<std::vector<T>> typed_array(const GgufFile& file, const std::string& key, const char* elements) {
  RF_TRY(GgufArray array, file.array(key));
  if (auto* values = std::get_if<std::vector<T>>(&array)) return std::move(*values);
  return Error{file.path().string() + ": '" + key + "' must be an array of " + elements +
               ", found another element type"};
}

}  // namespace ringflash
