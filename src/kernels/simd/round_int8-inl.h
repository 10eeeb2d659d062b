// Activations rounded to 8 bits.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/bytes-inl.h"

namespace ringflash::kernels::RF_ISA {

/// The largest lane, halves first.
inline float largest_lane(Vec v) {
  float lanes[kLanes];
  store(lanes, v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] = lanes[i] > lanes[i + width] ? lanes[i] : lanes[i + width];
  }
  return lanes[0];
}

/// One token's group of `count` activations.
template <bool kWhole>
inline void round_group(const float* x, int64_t count, uint8_t* values, float* scale) {
  Vec group[kInt8Group / kLanes], largest{};
  for (int i = 0; i < kInt8Group / kLanes; ++i) {
    const int64_t left = count - i * kLanes;
    if constexpr (kWhole) {
      group[i] = load(x + i * kLanes);
    } else {
      group[i] = left > 0 ? load_partial(x + i * kLanes, left) : Vec{};
    }
    largest = max(from_bits(bits(group[i]) & 0x7fffffff), largest);
  }
  const float most = largest_lane(largest);
  const bool zero = most < kLeastInt8Maximum;
  *scale = zero ? 0.0f : most / 127.0f;
  const Vec inverse = broadcast(zero ? 0.0f : 127.0f / most);
  for (int i = 0; i < kInt8Group / kLanes; ++i) {
    // The sum's low bits are 128 and x / scale, rounded to nearest even.
    const VecI rounded = bits(group[i] * inverse + (0x1.8p23f + 128));
    store_low_bytes(values + i * kLanes, rounded);
  }
}

inline void round_to_int8(const float* x, int64_t tokens, int64_t in, int64_t begin, int64_t end, uint8_t* values,
                          float* scales) {
  const Int8Tokens layout{values, scales, tokens, in};
  for (int64_t t = begin; t < end; ++t) {
    for (int64_t first = 0; first < in; first += kInt8Group) {
      const int64_t at = layout.place(first / kInt8Group, t);
      const auto round = in - first >= kInt8Group ? round_group<true> : round_group<false>;
      round(x + t * in + first, in - first, values + at * kInt8Group, scales + at);
    }
  }
}

}  // namespace ringflash::kernels::RF_ISA
