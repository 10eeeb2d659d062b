// How much memory this process has had.
#pragma once

#include <sys/resource.h>

#include <cstdint>

namespace ringflash {

/// The most resident memory of this process so far, in bytes.
inline int64_t peak_memory() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace ringflash
