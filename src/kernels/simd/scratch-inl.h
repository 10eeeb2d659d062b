// Memory for the intermediate results of one call.
#pragma once

#include <cstdlib>

#include "kernels/simd/vec.h"

namespace ringflash::kernels::RF_ISA {

/// Uninitialised floats, handed out in pieces that start on cache lines.
class Scratch {
 public:
  /// `floats`: the sizes of all pieces together, of which there are at most kMostPieces.
  explicit Scratch(int64_t floats)
      : base_(static_cast<float*>(
            std::aligned_alloc(64, static_cast<size_t>(rounded(floats) + kMostPieces * 16) * sizeof(float)))),
        next_(base_) {
    if (base_ == nullptr) std::abort();
  }
  ~Scratch() { std::free(base_); }
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

  float *base_, *next_;
};

}  // namespace ringflash::kernels::RF_ISA
