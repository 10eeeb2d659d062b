// Bytes that end where readable memory does: a read past them is a fault, also one that AddressSanitizer does not see (masked
// loads, gathers), as it would be at the end of a mapped file.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <span>

#include "base/ceil_div.h"
#include "base/check.h"

namespace ringflash::testing {

class PageEnd {
 public:
  explicit PageEnd(std::span<const std::byte> bytes) : page_(static_cast<size_t>(::sysconf(_SC_PAGESIZE))) {
    const size_t readable = static_cast<size_t>(ceil_div(std::ssize(bytes), static_cast<int64_t>(page_))) * page_;
    size_ = readable + page_;
    map_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    RF_CHECK(map_ != MAP_FAILED);
    auto* end = static_cast<std::byte*>(map_) + readable;
    RF_CHECK(::mprotect(end, page_, PROT_NONE) == 0);
    data_ = end - bytes.size();
    std::memcpy(data_, bytes.data(), bytes.size());
  }
  ~PageEnd() { ::munmap(map_, size_); }
  PageEnd(const PageEnd&) = delete;
  PageEnd& operator=(const PageEnd&) = delete;

  const std::byte* data() const { return data_; }

 private:
  size_t page_, size_;
  void* map_;
  std::byte* data_;
};

}  // namespace ringflash::testing
