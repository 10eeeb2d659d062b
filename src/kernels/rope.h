// Rotary position embedding (Su et al. 2021) in Hugging Face's half-split layout: element i of the first half
// of a head is rotated with element i of the second half by angle position * theta^(-2i / head_dim).
#pragma once

#include <cstdint>
#include <memory>

#include "base/aligned.h"

namespace ringflash::kernels {

/// Cosines and sines for positions [first, first + count): computed in double, stored as float, so that the
/// trainer and the runtime rotate by bit-identical numbers.
struct RopeTable {
  int64_t first = 0, count = 0, half = 0;
  AlignedVector<float> cosine, sine;  ///< [count, half]

  const float* cosine_at(int64_t position) const { return cosine.data() + (position - first) * half; }
  const float* sine_at(int64_t position) const { return sine.data() + (position - first) * half; }
};

RopeTable make_rope_table(int64_t first, int64_t count, int64_t head_dim, double theta);

/// A table of at least the positions [0, count), kept for the next caller: making one costs as much as
/// attending over a short sequence. Safe from any thread.
std::shared_ptr<const RopeTable> shared_rope_table(int64_t count, int64_t head_dim, double theta);

/// y = x rotated to `position`; x and y are one head vector of 2 * rope.half floats and may be the same.
void rope_rotate(const float* x, float* y, const RopeTable& rope, int64_t position);

/// The inverse rotation, which is also the gradient.
void rope_unrotate(const float* x, float* y, const RopeTable& rope, int64_t position);

}  // namespace ringflash::kernels
