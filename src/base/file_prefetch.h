// Reading a mapped file before it is needed.
#pragma once

#include <cstddef>
#include <span>
#include <thread>

namespace ringflash {

/// Has a map's pages read and entered into the process's tables by a thread of its own, so that those who use them need not
/// wait; where the file is more than half of the machine's memory, by nobody. The map must outlive this.
class FilePrefetch {
 public:
  explicit FilePrefetch(std::span<const std::byte> map);
  /// Stops within one piece of a few milliseconds, or as long as the disk takes for it.
  ~FilePrefetch() = default;

 private:
  std::jthread thread_;
};

}  // namespace ringflash
