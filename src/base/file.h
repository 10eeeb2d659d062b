// Files in, files out: whole reads, read-only maps, and writes that are complete or do not happen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ringflash {

/// The whole file as bytes. Errors name the file and the system's reason.
Result<std::string> read_file(const std::filesystem::path& path);

/// A file mapped read-only; the bytes live as long as this object.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

/// Writes PATH.tmp, then on commit() flushes it to the disk and renames it over PATH. Destroyed without a commit
/// (an error, an early return), it removes the temporary file and PATH keeps its old content.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::filesystem::path& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  /// Appends; the first failure (disk full) is returned, and commit() repeats it.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text) { return write(std::as_bytes(std::span(text))); }
  uint64_t size() const { return size_; }
  Status commit();

 private:
  AtomicFile(std::filesystem::path path, std::filesystem::path temporary, std::FILE* file);
  Error failed(const char* what);

  std::filesystem::path path_, temporary_;
  std::unique_ptr<char[]> buffer_;  ///< file_'s
  std::FILE* file_ = nullptr;
  uint64_t size_ = 0;
  bool broken_ = false;
};

/// AtomicFile in one call.
Status write_file(const std::filesystem::path& path, std::string_view text);

/// Flushes a directory's entries to the disk, so that a rename in it survives a power cut.
Status sync_directory(const std::filesystem::path& path);

}  // namespace ringflash
