// GGUF v3, the one file a model is deployed as: typed metadata, named tensors, aligned data to map.
// Layout: docs/format.md. Every count, length and offset is checked against the file before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"

namespace ringflash {

/// ggml's tensor types; only these are accepted.
enum class GgufType : uint32_t { kF32 = 0, kF16 = 1, kQ8_0 = 8, kI8 = 24, kBF16 = 30 };

std::string to_string(GgufType type);
/// Bytes of `elements` values of a type; elements must be a multiple of the type's block.
Result<uint64_t> gguf_bytes(GgufType type, uint64_t elements);

using GgufArray = std::variant<std::vector<int32_t>, std::vector<uint32_t>, std::vector<float>, std::vector<bool>,
                               std::vector<std::string>>;
using GgufValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool, std::string,
                               uint64_t, int64_t, double, GgufArray>;

struct GgufTensor {
  std::string name;
  GgufType type;
  std::vector<int64_t> shape;  ///< outermost first, as Hugging Face writes it (the file stores the reverse)
  std::span<const std::byte> data;
};

/// An open, validated, mapped file. Tensor data point into the map.
class GgufFile {
 public:
  static Result<GgufFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  uint64_t file_bytes() const { return file_.bytes().size(); }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// Null if absent.
  const GgufTensor* find(std::string_view name) const;

  /// Metadata of a given kind; the error names the file, the key, the type expected and found. Any integer type
  /// is taken where an integer is wanted.
  Result<int64_t> integer(const std::string& key) const;
  Result<double> number(const std::string& key) const;
  Result<bool> boolean(const std::string& key) const;
  Result<std::string> text(const std::string& key) const;
  Result<GgufArray> array(const std::string& key) const;

 private:
  explicit GgufFile(MappedFile file) : file_(std::move(file)) {}
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
};

/// Collects metadata and tensors, then writes them in one go; tensor bytes are produced one tensor at a time so
/// that memory holds one tensor, not the model.
class GgufWriter {
 public:
  void set(const std::string& key, GgufValue value);

  /// `produce` is called once, during write(), and returns exactly gguf_bytes(type, elements) bytes.
  using Producer = std::function<Result<std::vector<std::byte>>()>;
  void add_tensor(std::string name, GgufType type, std::vector<int64_t> shape, Producer produce);

  /// Atomic: the file appears complete or not at all.
  Status write(const std::filesystem::path& path) const;

 private:
  struct Entry;
  std::map<std::string, GgufValue> metadata_;
  std::vector<Entry> entries_;
};

}  // namespace ringflash
