#include "bench/machine.h"

#include <unistd.h>

#include <fstream>

#include "base/thread_pool.h"

namespace ringflash::bench {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

}  // namespace

Machine this_machine() {
  return {.cpu = processor_name(),
          .cores = usable_processors(),
          .memory_bytes = int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGE_SIZE)};
}

}  // namespace ringflash::bench
