// Memory for the intermediate results of one call.
#pragma once

#include <cstdlib>
#include <utility>

#include "kernels/simd/vec.h"

namespace ringflash::kernels::RF_ISA {

/// Memory that a thread has finished with and keeps for its next call: small ones come thousands of times a token.
class KeptScratch {
 public:
  struct Memory {
    float* base = nullptr;
    int64_t floats = 0;
  };
  ~KeptScratch() { std::free(kept_.base); }

  /// So many floats or more.
  Memory take(int64_t floats) {
    if (floats <= kept_.floats) return std::exchange(kept_, {});
    auto* base = static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(floats) * sizeof(float)));
    if (base == nullptr) std::abort();
    return {base, floats};
  }
  void give_back(Memory memory) {
    if (memory.floats > kept_.floats && memory.floats <= kMost) std::swap(memory, kept_);
    std::free(memory.base);
  }

 private:
  static constexpr int64_t kMost = int64_t{1} << 18;
  Memory kept_;
};
inline thread_local KeptScratch kept_scratch;

/// Uninitialised floats, handed out in pieces that start on cache lines.
class Scratch {
 public:
  /// `floats`: the sizes of all pieces together, of which there are at most kMostPieces.
  explicit Scratch(int64_t floats)
      : memory_(kept_scratch.take(rounded(floats) + kMostPieces * 16)), next_(memory_.base) {}
  ~Scratch() { kept_scratch.give_back(memory_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* take(int64_t floats) {
    float* piece = next_;
    next_ += rounded(floats);
    return piece;
  }

 private:
  static constexpr int64_t kMostPieces = 8;
  static int64_t rounded(int64_t floats) { return (floats + 15) / 16 * 16; }

  KeptScratch::Memory memory_;
  float* next_;
};

}  // namespace ringflash::kernels::RF_ISA
