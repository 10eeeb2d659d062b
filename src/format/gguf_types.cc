// GGUF's types: names and sizes, and typed access to metadata.
#include <limits>
#include <type_traits>

#include "base/in_quotes.h"
#include "format/block_q4_0.h"
#include "format/block_q8_0.h"
#include "format/gguf.h"

namespace ringflash {
namespace {

std::string describe(const GgufArray& array) {
  static constexpr const char* kElements[] = {"i32", "u32", "f32", "bool", "string"};
  const size_t size = std::visit([](const auto& values) { return values.size(); }, array);
  return "an array of " + std::to_string(size) + " " + kElements[array.index()];
}

constexpr const char* kValueTypes[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                       "bool", "string", "array", "u64", "i64", "f64"};

/// "u32 7", "string 'x'", "an array of 3 f32".
std::string describe(const GgufValue& value) {
  const std::string type = kValueTypes[value.index()];
  return std::visit(
      [&](const auto& v) {
        using T = std::decay_t<decltype(v)>;
        if constexpr (std::is_same_v<T, GgufArray>) {
          return describe(v);
        } else if constexpr (std::is_same_v<T, std::string>) {
          return type + " " + in_quotes(v);
        } else {
          return type + " " + std::to_string(v);
        }
      },
      value);
}

struct TypeInfo {
  uint64_t block_elements, block_bytes;
};

TypeInfo type_info(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return {1, 4};
    case GgufType::kF16:
      return {1, 2};
    case GgufType::kBF16:
      return {1, 2};
    case GgufType::kI8:
      return {1, 1};
    case GgufType::kQ4_0:
      return {BlockQ4_0::kWeights, sizeof(BlockQ4_0)};
    case GgufType::kQ8_0:
      return {BlockQ8_0::kWeights, sizeof(BlockQ8_0)};
  }
  RF_UNREACHABLE();
}

template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T> && !std::is_same_v<T, bool>;

Result<const GgufValue*> lookup(const GgufFile& file, const std::string& key, const char* expected) {
  const auto it = file.metadata().find(key);
  if (it != file.metadata().end()) return &it->second;
  return Error{file.path().string() + ": '" + key + "' must be " + expected +
               ", but the file has no such key"};
}

Error wrong_kind(const GgufFile& file, const std::string& key, const char* expected, const GgufValue& found) {
  return Error{file.path().string() + ": '" + key + "' must be " + expected + ", found " + describe(found)};
}

/// The value if it is exactly a T.
template <typename T>
Result<T> get(const GgufFile& file, const std::string& key, const char* expected) {
  RF_TRY(const GgufValue* value, lookup(file, key, expected));
  if (const T* found = std::get_if<T>(value)) return *found;
  return wrong_kind(file, key, expected, *value);
}

}  // namespace

std::string to_string(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return "F32";
    case GgufType::kF16:
      return "F16";
    case GgufType::kBF16:
      return "BF16";
    case GgufType::kI8:
      return "I8";
    case GgufType::kQ4_0:
      return "Q4_0";
    case GgufType::kQ8_0:
      return "Q8_0";
  }
  RF_UNREACHABLE();
}

uint64_t gguf_block_elements(GgufType type) {
  return type_info(type).block_elements;
}

Result<uint64_t> gguf_bytes(GgufType type, uint64_t elements) {
  const TypeInfo info = type_info(type);
  if (elements % info.block_elements != 0) {
    return Error{"expected a multiple of " + std::to_string(info.block_elements) + " elements for type " +
                 to_string(type) + ", found " + std::to_string(elements)};
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements / info.block_elements, info.block_bytes, &bytes)) {
    return Error{"expected a size below 2^64 bytes, found " + std::to_string(elements) +
                 " elements of type " + to_string(type)};
  }
  return bytes;
}

Result<int64_t> GgufFile::integer(const std::string& key) const {
  const char* expected = "an integer below 2^63";
  RF_TRY(const GgufValue* value, lookup(*this, key, expected));
  return std::visit(
      [&](const auto& v) -> Result<int64_t> {
        if constexpr (kIsInteger<std::decay_t<decltype(v)>>) {
          if (std::in_range<int64_t>(v)) return static_cast<int64_t>(v);
        }
        return wrong_kind(*this, key, expected, *value);
      },
      *value);
}

Result<double> GgufFile::number(const std::string& key) const {
  RF_TRY(const GgufValue* value, lookup(*this, key, "a number"));
  return std::visit(
      [&](const auto& v) -> Result<double> {
        using T = std::decay_t<decltype(v)>;
        if constexpr (kIsInteger<T> || std::is_floating_point_v<T>) return static_cast<double>(v);
        return wrong_kind(*this, key, "a number", *value);
      },
      *value);
}

Result<bool> GgufFile::boolean(const std::string& key) const {
  return get<bool>(*this, key, "a bool");
}

Result<std::string> GgufFile::text(const std::string& key) const {
  return get<std::string>(*this, key, "a string");
}

Result<GgufArray> GgufFile::array(const std::string& key) const {
  return get<GgufArray>(*this, key, "an array");
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

}  // namespace ringflash
