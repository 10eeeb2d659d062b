// Hugging Face's safetensors: a JSON header of names, types, shapes and offsets, then the bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"

namespace ringflash {

enum class DType { kF32, kF16, kBF16, kI64, kI32, kI8, kU8 };

std::string to_string(DType dtype);  ///< "F32", "BF16", ... as the format spells them
int64_t dtype_bytes(DType dtype);

/// A tensor's bytes, little endian, outermost dimension first. `shape` may be empty (a scalar) and may hold 0. The
/// bytes need not be aligned to the element.
struct TensorView {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;

  int64_t elements() const;
};

class SafetensorsFile {
 public:
  /// Maps and validates: header length, JSON, types, offsets in bounds, sizes matching shapes, and every byte of the
  /// data belonging to exactly one tensor, as the format demands.
  static Result<SafetensorsFile> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// In the order of their data.
  const std::vector<TensorView>& tensors() const { return tensors_; }
  /// Null if absent.
  const TensorView* find(std::string_view name) const;
  /// The tensor, which must exist with this shape; the error names the file, tensor, shapes expected and found.
  Result<TensorView> require(std::string_view name, std::span<const int64_t> shape) const;
  /// The same, and of a type that to_floats() takes.
  Result<TensorView> require_floats(std::string_view name, std::span<const int64_t> shape) const;

 private:
  explicit SafetensorsFile(MappedFile file) : file_(std::move(file)) {}
  std::filesystem::path path_;
  MappedFile file_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorView> tensors_;
  std::map<std::string, size_t, std::less<>> index_;  // name -> place in tensors_
};

/// Any float tensor (F32, F16, BF16) as fp32; the caller has made sure that it is one.
std::vector<float> to_floats(const TensorView& tensor);

/// A tensor to be written whose bytes are made when it is its turn.
struct TensorProducer {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  /// Called once, in the order of the tensors; returns the bytes that the shape and type ask for.
  std::function<Result<std::vector<std::byte>>()> produce;
};

/// Like the next, with one tensor in memory at a time.
Status write_safetensors(const std::filesystem::path& path, std::span<const TensorProducer> tensors,
                         const std::map<std::string, std::string>& metadata = {});

/// Writes atomically (base/file.h's AtomicFile), tensors in the given order. Names are distinct, and each has the
/// bytes that its shape and type ask for.
Status write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                         const std::map<std::string, std::string>& metadata = {});

}  // namespace ringflash
