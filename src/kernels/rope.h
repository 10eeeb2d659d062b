// Rotary position embedding (Su et al. 2021) in Hugging Face's half-split layout: element i of the first half
// of a head is rotated with element i of the second half by angle position * theta^(-2i / head_dim).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/aligned.h"
#include "model/rope_scaling.h"

namespace ringflash::kernels {

/// The angle that each pair of numbers turns by from one position to the next, head_dim / 2 of them:
/// theta^(-2 i / head_dim), scaled as the parameters say.
std::vector<double> rope_frequencies(int64_t head_dim, const RopeParameters& parameters);

/// Cosines and sines for positions [first, first + count): computed in double, stored as float, so that the
/// trainer and the runtime rotate by bit-identical numbers. Both are multiplied with yarn's attention_factor.
struct RopeTable {
  int64_t first = 0, count = 0, half = 0;
  AlignedVector<float> cosine, sine;  ///< [count, half]

  const float* cosine_at(int64_t position) const { return cosine.data() + (position - first) * half; }
  const float* sine_at(int64_t position) const { return sine.data() + (position - first) * half; }
};

RopeTable make_rope_table(int64_t first, int64_t count, int64_t head_dim, const RopeParameters& parameters);

/// A table of at least the positions [0, count), kept for the next caller: making one costs as much as
/// attending over a short sequence. Safe from any thread.
std::shared_ptr<const RopeTable> shared_rope_table(int64_t count, int64_t head_dim, const RopeParameters& parameters);

/// y = x rotated to `position`; x and y are one head vector of 2 * rope.half floats and may be the same.
void rope_rotate(const float* x, float* y, const RopeTable& rope, int64_t position);

/// The inverse rotation, which is also the gradient.
void rope_unrotate(const float* x, float* y, const RopeTable& rope, int64_t position);

}  // namespace ringflash::kernels
