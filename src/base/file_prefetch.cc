#include "base/file_prefetch.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

namespace ringflash {
namespace {

constexpr size_t kPieceBytes = size_t{8} << 20;  // a multiple of the page

bool fits_memory(size_t bytes) {
  const long pages = ::sysconf(_SC_PHYS_PAGES), page_bytes = ::sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 && bytes / static_cast<size_t>(page_bytes) <= static_cast<size_t>(pages) / 2;
}

void prefetch(const std::stop_token& stop, std::span<const std::byte> map) {
  auto* begin = const_cast<std::byte*>(map.data());
#if defined(MADV_POPULATE_READ)
  for (size_t at = 0; at < map.size() && !stop.stop_requested(); at += kPieceBytes) {
    if (::madvise(begin + at, std::min(kPieceBytes, map.size() - at), MADV_POPULATE_READ) == 0) continue;
    ::madvise(begin, map.size(), MADV_WILLNEED);  // a kernel before 5.14
    return;
  }
#else
  ::madvise(begin, map.size(), MADV_WILLNEED);
#endif
}

}  // namespace

FilePrefetch::FilePrefetch(std::span<const std::byte> map) {
  if (map.empty() || !fits_memory(map.size())) return;
  thread_ = std::jthread([map](const std::stop_token& stop) { prefetch(stop, map); });
}

}  // namespace ringflash
