// AdamW on moments in 8 bits: block by block they are unpacked, stepped as fp32 ones are, and packed again.
#pragma once

#include "kernels/dynamic_map.h"
#include "kernels/simd/training-inl.h"

namespace ringflash::kernels::RF_ISA {

// Plain loops without branches: the compiler vectorises them with this ISA's flags.

inline void decode_moments(const uint8_t* __restrict__ codes, float scale, const DynamicMap& map, int64_t count,
                           float* __restrict__ x) {
  for (int64_t i = 0; i < count; ++i) x[i] = map.values[codes[i]] * scale;
}

/// The place of a >= 0 among a map's values: bins << decade is the first of its decade. Within a decade the values lie
/// in the middle of equal bins, so that rounding down finds the nearest.
template <int kBins>
[[gnu::always_inline]] inline int32_t place(float a) {
  float first = kBins, slope = static_cast<float>(kBins / (0.9 * decade_top(0)));
#pragma GCC unroll 8
  for (int decade = 1; decade < kDecades; ++decade) {
    const bool above = a >= static_cast<float>(decade_edge(decade, kBins));
    first = above ? static_cast<float>(kBins << decade) : first;
    slope = above ? static_cast<float>((kBins << decade) / (0.9 * decade_top(decade))) : slope;
  }
  float bin = a * slope + first * (8.0f / 9);  // (a - 0.1 top) / (0.9 top) * bins + first
  bin = bin > first ? bin : first;
  const float last = 2 * first - 1;
  bin = bin < last ? bin : last;
  const auto found = static_cast<int32_t>(bin);
  return a >= static_cast<float>(decade_edge(kDecades, kBins)) ? kBins << kDecades : found;
}

/// The largest magnitude, or 0 for next to nothing. Floats at or above 0 are ordered as their bits are.
inline float block_scale(const float* x, int64_t count) {
  int32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    int32_t bits;
    __builtin_memcpy(&bits, x + i, sizeof bits);
    bits &= 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  float scale;
  __builtin_memcpy(&scale, &largest, sizeof scale);
  return scale >= kLeastMomentScale ? scale : 0.0f;
}

inline float encode_signed(const float* __restrict__ x, int64_t count, uint8_t* __restrict__ codes) {
  const float scale = block_scale(x, count), inverse = scale > 0 ? 1 / scale : 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    const float a = __builtin_fabsf(x[i]) * inverse;
    const int32_t found = place<kSignedBins>(a);
    const int32_t code = a >= static_cast<float>(decade_edge(0, kSignedBins)) ? found : 0;
    const int32_t below = kSignedZero - code;
    codes[i] = static_cast<uint8_t>(x[i] < 0 ? (below < 0 ? 0 : below) : kSignedZero + code);
  }
  return scale;
}

inline float encode_unsigned(const float* __restrict__ x, int64_t count, uint8_t* __restrict__ codes) {
  const float scale = block_scale(x, count), inverse = scale > 0 ? 1 / scale : 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t found = place<kUnsignedBins>(x[i] * inverse) - (kUnsignedBins - 1);
    codes[i] = static_cast<uint8_t>(x[i] > 0 ? found : kUnsignedZero);
  }
  return scale;
}

inline void adamw8(float* w, const float* gradient, const Moments8& moments, const uint8_t* mask, int64_t count,
                   const AdamWStep& s) {
  float m[kMomentBlock], v[kMomentBlock];
  for (int64_t begin = 0, block = 0; begin < count; begin += kMomentBlock, ++block) {
    const int64_t size = count - begin < kMomentBlock ? count - begin : kMomentBlock;
    decode_moments(moments.m + begin, moments.m_scale[block], kSignedMap, size, m);
    decode_moments(moments.v + begin, moments.v_scale[block], kUnsignedMap, size, v);
    adamw(w + begin, gradient + begin, m, v, mask != nullptr ? mask + begin : nullptr, size, s);
    moments.m_scale[block] = encode_signed(m, size, moments.m + begin);
    moments.v_scale[block] = encode_unsigned(v, size, moments.v + begin);
  }
}

}  // namespace ringflash::kernels::RF_ISA
