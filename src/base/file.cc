#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace ringflash {
namespace {

// Linux caches what is written at once in pages as large, and a model whose weights lie in pages of 2 MiB is read a tenth
// faster than in such of 4 KiB.
constexpr size_t kWriteBytes = size_t{8} << 20;

Error system_error(const std::filesystem::path& path, const char* what) {
  return Error{path.string() + ": " + what + ": " + std::strerror(errno)};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Result<size_t> regular_file_size(const std::filesystem::path& path, int fd) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return system_error(path, "cannot be read");
  if (!S_ISREG(info.st_mode)) return Error{path.string() + ": expected a regular file"};
  return static_cast<size_t>(info.st_size);
}

}  // namespace

Result<std::string> read_file(const std::filesystem::path& path) {
  RF_TRY(const MappedFile file, MappedFile::open(path));
  return std::string(file.text());
}

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error(path, "cannot be opened");
  RF_TRY(const size_t size, regular_file_size(path, fd.get()));
  if (size == 0) return MappedFile(nullptr, 0);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return system_error(path, "cannot be mapped");
#if defined(MADV_HUGEPAGE)
  ::madvise(data, size, MADV_HUGEPAGE);  // a wish: what is not cached yet is read in large pages where there are any
#endif
  return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<AtomicFile> AtomicFile::create(const std::filesystem::path& path) {
  std::filesystem::path temporary = path;
  temporary += ".tmp";
  std::FILE* file = std::fopen(temporary.c_str(), "wbe");
  if (file == nullptr) return system_error(temporary, "cannot be created");
  return AtomicFile(path, std::move(temporary), file);
}

AtomicFile::AtomicFile(std::filesystem::path path, std::filesystem::path temporary, std::FILE* file)
    : path_(std::move(path)),
      temporary_(std::move(temporary)),
      buffer_(std::make_unique_for_overwrite<char[]>(kWriteBytes)),
      file_(file) {
  RF_CHECK(std::setvbuf(file_, buffer_.get(), _IOFBF, kWriteBytes) == 0);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      buffer_(std::move(other.buffer_)),
      file_(std::exchange(other.file_, nullptr)),
      size_(other.size_),
      broken_(other.broken_) {}

AtomicFile::~AtomicFile() {
  if (file_ == nullptr) return;
  std::fclose(file_);
  ::unlink(temporary_.c_str());
}

Error AtomicFile::failed(const char* what) {
  broken_ = true;
  return system_error(temporary_, what);
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  if (broken_) return Error{temporary_.string() + ": an earlier write failed"};
  if (!bytes.empty() && std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size()) {
    return failed("cannot be written");
  }
  size_ += bytes.size();
  return {};
}

Status AtomicFile::commit() {
  RF_CHECK(file_ != nullptr);
  if (broken_) return Error{temporary_.string() + ": an earlier write failed"};
  if (std::fflush(file_) != 0) return failed("cannot be written");
  if (::fsync(::fileno(file_)) != 0) return failed("cannot be flushed to the disk");
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) return failed("cannot be renamed into place");
  std::fclose(std::exchange(file_, nullptr));
  return sync_directory(path_.parent_path());
}

Status write_file(const std::filesystem::path& path, std::string_view text) {
  RF_TRY(AtomicFile file, AtomicFile::create(path));
  RF_TRY_VOID(file.write(text));
  return file.commit();
}

Status sync_directory(const std::filesystem::path& path) {
  const std::filesystem::path directory = path.empty() ? std::filesystem::path(".") : path;
  const Descriptor fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return system_error(directory, "cannot be opened");
  if (::fsync(fd.get()) != 0) return system_error(directory, "cannot be flushed to the disk");
  return {};
}

}  // namespace ringflash
