// GGUF's types: names and sizes, and typed access to metadata.
#include <limits>
#include <type_traits>

#include "base/in_quotes.h"
#include "format/block_imported.h"
#include "format/block_q4_0.h"
#include "format/block_q4_1.h"
#include "format/block_q5_0.h"
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
  GgufType type;
  const char* name;
  uint64_t block_elements, block_bytes;
};

template <typename Block>
constexpr TypeInfo blocks(GgufType type, const char* name) {
  return {type, name, Block::kWeights, sizeof(Block)};
}

constexpr TypeInfo kTypes[] = {
    {GgufType::kF32, "F32", 1, 4},
    {GgufType::kF16, "F16", 1, 2},
    blocks<BlockQ4_0>(GgufType::kQ4_0, "Q4_0"),
    blocks<BlockQ4_1>(GgufType::kQ4_1, "Q4_1"),
    blocks<BlockQ5_0>(GgufType::kQ5_0, "Q5_0"),
    blocks<BlockQ5_1>(GgufType::kQ5_1, "Q5_1"),
    blocks<BlockQ8_0>(GgufType::kQ8_0, "Q8_0"),
    blocks<BlockQ2_K>(GgufType::kQ2_K, "Q2_K"),
    blocks<BlockQ3_K>(GgufType::kQ3_K, "Q3_K"),
    blocks<BlockQ4_K>(GgufType::kQ4_K, "Q4_K"),
    blocks<BlockQ5_K>(GgufType::kQ5_K, "Q5_K"),
    blocks<BlockQ6_K>(GgufType::kQ6_K, "Q6_K"),
    blocks<BlockIQ4_NL>(GgufType::kIQ4_NL, "IQ4_NL"),
    blocks<BlockIQ4_XS>(GgufType::kIQ4_XS, "IQ4_XS"),
    {GgufType::kI8, "I8", 1, 1},
    {GgufType::kBF16, "BF16", 1, 2},
};

const TypeInfo& type_info(GgufType type) {
  for (const TypeInfo& info : kTypes) {
    if (info.type == type) return info;
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
  return type_info(type).name;
}

std::optional<GgufType> gguf_type(uint32_t number) {
  for (const TypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.type) == number) return info.type;
  }
  return std::nullopt;
}

std::string gguf_type_names() {
  std::string names;
  for (const TypeInfo& info : kTypes) {
    const std::string number = std::to_string(static_cast<uint32_t>(info.type));
    names += (names.empty() ? "" : ", ") + std::string(info.name) + " (" + number + ")";
  }
  return names;
}

std::string gguf_foreign_type(uint32_t number) {
  static const std::map<uint32_t, const char*> kNames = {
      {9, "Q8_1"},   {15, "Q8_K"}, {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
      {21, "IQ3_S"}, {22, "IQ2_S"}, {25, "I16"},    {26, "I32"},    {27, "I64"},     {28, "F64"},
      {29, "IQ1_M"}, {34, "TQ1_0"}, {35, "TQ2_0"},  {39, "MXFP4"}};
  const auto it = kNames.find(number);
  return it == kNames.end() ? std::to_string(number) : std::string(it->second) + " (" + std::to_string(number) + ")";
}

uint64_t gguf_block_elements(GgufType type) {
  return type_info(type).block_elements;
}

Result<uint64_t> gguf_bytes(GgufType type, uint64_t elements) {
  const TypeInfo& info = type_info(type);
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
