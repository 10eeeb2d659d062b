// AdamW on moments in 8 bits: block by block they are unpacked, stepped as fp32 ones are, and packed again.
#pragma once

#include "kernels/dynamic_map.h"
#include "kernels/simd/training-inl.h"

namespace ringflash::kernels::RF_ISA {

// Plain loops without branches: the compiler vectorises them with this ISA's flags.

/// What is to know of a decade: the place of its first value, kBins << decade; a tenth of its top; the width of its
/// bins, and one over it.
struct Decade {
  float first, tenth, width, slope;
};

constexpr Decade operator*(Decade a, Decade b) {
  return {a.first * b.first, a.tenth * b.tenth, a.width * b.width, a.slope * b.slope};
}

/// The decade of x, from where each of 1 to 7 begins on x's scale, in three comparisons. The 1 on top of a map is an
/// eighth decade. What the caller does not look at is not computed.
template <int kBins>
[[gnu::always_inline]] inline Decade find_decade(float x, const float (&edge)[kDecades + 1]) {
  constexpr auto kWidth = static_cast<float>(0.9 * decade_top(0) / kBins);
  constexpr Decade kLowest = {kBins, static_cast<float>(decade_top(0) / 10), kWidth, 1 / kWidth};
  constexpr Decade kNext = {2, 10, 5, 0.2f}, kTwo = {4, 100, 25, 0.04f}, kFour = {16, 1e4f, 625, 0.0016f};
  Decade d = x >= edge[4] ? kLowest * kFour : kLowest;
  const float below = x >= edge[4] ? edge[5] : edge[1], above = x >= edge[4] ? edge[7] : edge[3];
  float next = x >= edge[4] ? edge[6] : edge[2];
  d = x >= next ? d * kTwo : d;
  next = x >= next ? above : below;
  return x >= next ? d * kNext : d;
}

/// What a map has at place p, at least kBins (the 1 on top is cared for by its own).
template <int kBins>
[[gnu::always_inline]] inline float value_at(int32_t p) {
  constexpr float kEdges[] = {0, 2 * kBins, 4 * kBins, 8 * kBins, 16 * kBins, 32 * kBins, 64 * kBins, 128 * kBins};
  const auto place = static_cast<float>(p);
  const Decade d = find_decade<kBins>(place, kEdges);
  const float value = d.tenth + (place - d.first + 0.5f) * d.width;
  return p < kBins << kDecades ? value : 1.0f;
}

/// The place of the nearest to a, from 0 to 1. Within a decade the values lie in the middle of equal bins, so that
/// rounding down finds it.
template <int kBins>
[[gnu::always_inline]] inline int32_t place_of(float a) {
  constexpr auto edge = [](int decade) { return static_cast<float>(decade_edge(decade, kBins)); };
  constexpr float kEdges[] = {0, edge(1), edge(2), edge(3), edge(4), edge(5), edge(6), edge(7)};
  const Decade d = find_decade<kBins>(a, kEdges);
  const float bin = d.first * (8.0f / 9) + a * d.slope;  // first + (a - top / 10) / width
  const float last = 2 * d.first - 1, least = bin > d.first ? bin : d.first;
  return static_cast<int32_t>(least < last ? least : last);
}

inline void decode_signed(const uint8_t* __restrict__ codes, float scale, int64_t count, float* __restrict__ x) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t code = codes[i] - kSignedZero, place = code < 0 ? -code : code;
    const float value = place > 0 ? value_at<kSignedBins>(place) * scale : 0.0f;
    x[i] = code < 0 ? -value : value;
  }
}

inline void decode_unsigned(const uint8_t* __restrict__ codes, float scale, int64_t count, float* __restrict__ x) {
  for (int64_t i = 0; i < count; ++i) {
    const int32_t code = codes[i];
    x[i] = code > 0 ? value_at<kUnsignedBins>(code + kUnsignedBins - 1) * scale : 0.0f;
  }
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
    const int32_t found = place_of<kSignedBins>(a);
    const int32_t code = a >= static_cast<float>(decade_edge(0, kSignedBins)) ? found : 0;
    const int32_t below = kSignedZero - code;
    codes[i] = static_cast<uint8_t>(x[i] < 0 ? (below < 0 ? 0 : below) : kSignedZero + code);
  }
  return scale;
}

inline float encode_unsigned(const float* __restrict__ x, int64_t count, uint8_t* __restrict__ codes) {
  const float scale = block_scale(x, count), inverse = scale > 0 ? 1 / scale : 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    const int32_t found = place_of<kUnsignedBins>(x[i] * inverse) - (kUnsignedBins - 1);
    codes[i] = static_cast<uint8_t>(x[i] > 0 ? found : kUnsignedZero);
  }
  return scale;
}

inline void adamw8(float* w, const float* gradient, const Moments8& moments, const uint8_t* mask, int64_t count,
                   const AdamWStep& s) {
  float m[kMomentBlock], v[kMomentBlock];
  for (int64_t begin = 0, block = 0; begin < count; begin += kMomentBlock, ++block) {
    const int64_t size = count - begin < kMomentBlock ? count - begin : kMomentBlock;
    decode_signed(moments.m + begin, moments.m_scale[block], size, m);
    decode_unsigned(moments.v + begin, moments.v_scale[block], size, v);
    adamw(w + begin, gradient + begin, m, v, mask != nullptr ? mask + begin : nullptr, size, s);
    moments.m_scale[block] = encode_signed(m, size, moments.m + begin);
    moments.v_scale[block] = encode_unsigned(v, size, moments.v + begin);
  }
}

}  // namespace ringflash::kernels::RF_ISA
