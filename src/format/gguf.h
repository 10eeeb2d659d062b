// GGUF v3, the one file a model is deployed as: typed metadata, named tensors, aligned data to map.
// Layout: docs/format.md. Every count, length and offset is checked against the file before it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file.h"
#include "base/file_prefetch.h"

namespace ringflash {

inline constexpr uint32_t kGgufMagic = 0x46554747;  ///< "GGUF"
inline constexpr uint32_t kGgufVersion = 3;
/// Tensors start on multiples of this unless `general.alignment` says otherwise.
inline constexpr uint64_t kGgufAlignment = 32;
inline constexpr size_t kGgufMaxTensorName = 63;  ///< bytes; ggml keeps 64 with the final NUL

/// ggml's tensor types; only these are accepted.
enum class GgufType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kIQ4_XS = 23,
  kI8 = 24,
  kBF16 = 30,
};

std::string to_string(GgufType type);
/// The type of that number, if it is one of the above.
std::optional<GgufType> gguf_type(uint32_t number);
/// For errors: "F32 (0), F16 (1), ...", and what ggml calls another number: "IQ3_S (21)".
std::string gguf_type_names();
std::string gguf_foreign_type(uint32_t number);
/// Values in a block of the type: 32 or 256 for quantised ones, else 1. A row (the innermost dimension) is whole blocks.
uint64_t gguf_block_elements(GgufType type);
/// Bytes of `elements` values of a type; elements must be a multiple of the type's block.
Result<uint64_t> gguf_bytes(GgufType type, uint64_t elements);

using GgufArray = std::variant<std::vector<int32_t>, std::vector<uint32_t>, std::vector<float>, std::vector<bool>,
                               std::vector<std::string>>;
/// In the order of GGUF's value type numbers: index() is the number in the file.
using GgufValue = std::variant<uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, float, bool, std::string,
                               GgufArray, uint64_t, int64_t, double>;

struct GgufTensor {
  std::string name;
  GgufType type;
  std::vector<int64_t> shape;  ///< outermost first, as Hugging Face writes it (the file stores the reverse)
  std::span<const std::byte> data;
};

/// An open, validated, mapped file. Tensor data point into the map and start on multiples of at least 8 bytes.
class GgufFile {
 public:
  static Result<GgufFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  uint64_t file_bytes() const { return file_.bytes().size(); }
  /// Begins to read the whole file, for those who will need it soon.
  void prefetch() { prefetch_ = std::make_unique<FilePrefetch>(file_.bytes()); }
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
  std::unique_ptr<FilePrefetch> prefetch_;
  std::map<std::string, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string, size_t, std::less<>> index_;  // name -> place in tensors_
};

/// Collects metadata and tensors, then writes them in one go; tensor bytes are produced one tensor at a time so
/// that memory holds one tensor, not the model.
class GgufWriter {
 public:
  /// Replaces an earlier value of the key.
  void set(const std::string& key, GgufValue value);

  /// Tensors start on multiples of this, a power of two from 8 to 65536; kGgufAlignment unless it is called.
  void set_alignment(uint32_t alignment);

  /// `produce` is called once, during write(), and returns exactly gguf_bytes(type, elements) bytes. Names are
  /// distinct, shapes have one to four dimensions, rows are whole blocks.
  using Producer = std::function<Result<std::vector<std::byte>>()>;
  void add_tensor(std::string name, GgufType type, std::vector<int64_t> shape, Producer produce);

  /// Atomic: the file appears complete or not at all.
  Status write(const std::filesystem::path& path) const;

 private:
  struct Entry {
    std::string name;
    GgufType type;
    std::vector<int64_t> shape;
    uint64_t bytes;
    Producer produce;
  };
  std::string header() const;
  uint64_t align_up(uint64_t bytes) const { return (bytes + alignment_ - 1) / alignment_ * alignment_; }
  std::string padding(uint64_t bytes) const { return std::string(align_up(bytes) - bytes, '\0'); }

  std::map<std::string, GgufValue> metadata_;
  std::vector<Entry> entries_;
  uint64_t alignment_ = kGgufAlignment;
};

}  // namespace ringflash
