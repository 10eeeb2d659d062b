// A stable 64-bit hash of bytes, for splits and fingerprints; not cryptographic.
#pragma once

#include <cstdint>
#include <string_view>

namespace ringflash {

/// FNV-1a with SplitMix64's finaliser, so that every output bit depends on every byte.
inline uint64_t hash_bytes(std::string_view bytes, uint64_t seed = 0xcbf29ce484222325ull) {
  uint64_t h = seed;
  for (const unsigned char c : bytes) h = (h ^ c) * 0x100000001b3ull;
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
  return h ^ (h >> 31);
}

}  // namespace ringflash
