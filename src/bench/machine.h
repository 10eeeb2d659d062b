// What a measurement was made on, and with.
#pragma once

#include <cstdint>
#include <string>

namespace ringflash::bench {

/// The commit this program was built from: "1234567890ab", "1234567890ab-dirty", or "unknown".
extern const char* const kCommit;

struct Machine {
  std::string cpu;  ///< the processor's own name; empty where the system does not tell
  int cores;        ///< that this process may use
  int64_t memory_bytes;
};

Machine this_machine();

}  // namespace ringflash::bench
