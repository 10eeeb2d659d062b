// Small deterministic random numbers whose whole state is one integer, so that it fits in a checkpoint.
#pragma once

#include <cmath>
#include <cstdint>

namespace ringflash {

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  /// Uniform in [0, bound), without the bias of a plain remainder. bound > 0.
  uint64_t below(uint64_t bound) {
    const uint64_t limit = bound * (~0ull / bound);
    uint64_t x = next();
    while (x >= limit) x = next();
    return x % bound;
  }

  /// Standard normal (Box and Muller).
  double normal() {
    const double u = 1.0 - uniform();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * uniform());
  }

  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

}  // namespace ringflash
