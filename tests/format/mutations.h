// Spoils files in deterministic ways, for readers that must survive any content.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include "base/rng.h"

namespace ringflash::testing {

/// A few random edits: bytes replaced, numbers replaced by extreme ones, pieces removed, doubled or cut off.
inline std::string mutate(std::string bytes, Rng& rng) {
  static constexpr uint64_t kExtremes[] = {0,        1,   7,          0x7f,       0xff,  0x7fff,    0xffff,
                                           1u << 31, ~0u, 1ull << 62, 1ull << 63, ~0ull, ~0ull - 31};
  for (uint64_t edits = 1 + rng.below(4); edits > 0 && !bytes.empty(); --edits) {
    const size_t at = rng.below(bytes.size());
    const size_t length = std::min(bytes.size() - at, size_t{1} + rng.below(40));
    switch (rng.below(6)) {
      case 0:
        bytes[at] = static_cast<char>(rng.next());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
        break;
      case 2: {
        const uint64_t extreme = kExtremes[rng.below(std::size(kExtremes))];
        std::memcpy(bytes.data() + at, &extreme, std::min(length, rng.below(2) ? size_t{8} : size_t{4}));
        break;
      }
      case 3:
        bytes.erase(at, length);
        break;
      case 4:
        bytes.insert(at, bytes.substr(rng.below(bytes.size()), length));
        break;
      case 5:
        if (rng.below(4) == 0) bytes.resize(at);
        break;
    }
  }
  return bytes;
}

/// Reads every byte, so that a span that leaves its file faults. The sum keeps the reads from being optimised
/// away.
inline uint64_t sum_of(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (const std::byte b : bytes) sum += static_cast<uint64_t>(b);
  return sum;
}

}  // namespace ringflash::testing
