// A vector of floats as wide as the instruction set, from the compiler's vector extensions: one kernel source
// serves every ISA. Each ISA's folder defines RF_ISA (its namespace) and RF_LANES, then includes the *-inl.h
// files. Everything here lives in that namespace, and these files include no C++ library templates that could
// be instantiated with one ISA's flags and linked into code for another.
#pragma once

#if !defined(RF_ISA) || !defined(RF_LANES)
#error "include this from an ISA's table.cc, which defines RF_ISA and RF_LANES"
#endif

#include <cstdint>

namespace ringflash::kernels::RF_ISA {

inline constexpr int kLanes = RF_LANES;

typedef float Vec __attribute__((vector_size(RF_LANES * 4)));
typedef int32_t VecI __attribute__((vector_size(RF_LANES * 4)));

inline int64_t smaller(int64_t a, int64_t b) {
  return a < b ? a : b;
}
inline int64_t larger(int64_t a, int64_t b) {
  return a > b ? a : b;
}

inline Vec load(const float* p) {
  Vec v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

/// The first `count` values at p, then zeros; nothing else is read.
inline Vec load_partial(const float* p, int64_t count) {
  if (count >= kLanes) return load(p);
  float padded[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load(padded);
}

inline void store(float* p, Vec v) {
  __builtin_memcpy(p, &v, sizeof v);
}

/// x in every lane. Not 0 + x, which is an addition: it turns -0 into 0.
inline Vec broadcast(float x) {
  return x - Vec{};
}

inline VecI bits(Vec v) {
  return reinterpret_cast<VecI>(v);
}
inline Vec from_bits(VecI v) {
  return reinterpret_cast<Vec>(v);
}

/// Keeps v in a register where it is used several times; g++ would rather read it from memory each time.
inline void keep_in_register(Vec& v) {
#if defined(__x86_64__)
  asm("" : "+v"(v));
#elif defined(__aarch64__)
  asm("" : "+w"(v));
#endif
}

inline Vec max(Vec a, Vec b) {
  return a > b ? a : b;
}
inline Vec min(Vec a, Vec b) {
  return a < b ? a : b;
}

/// Sum of all lanes, halves first.
inline float sum(Vec v) {
  float lanes[kLanes];
  __builtin_memcpy(lanes, &v, sizeof v);
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}

/// CountLanes<n>::List is LaneList<0, ..., n - 1>: std::index_sequence without the library.
template <int... kLane>
struct LaneList {};
template <int kCount, int... kLane>
struct CountLanes : CountLanes<kCount - 1, kCount - 1, kLane...> {};
template <int... kLane>
struct CountLanes<0, kLane...> {
  using List = LaneList<kLane...>;
};

/// Each group of 2 * kWidth lanes folded in half; a's groups, then b's.
template <int kWidth, int... kLane>
[[gnu::always_inline]] inline Vec fold(Vec a, Vec b, LaneList<kLane...>) {
  return __builtin_shufflevector(a, b, (kLane / kWidth * 2 * kWidth + kLane % kWidth)...) +
         __builtin_shufflevector(a, b, (kLane / kWidth * 2 * kWidth + kLane % kWidth + kWidth)...);
}

template <int kCount, int kWidth>
[[gnu::always_inline]] inline void fold_all(Vec* v) {
  if constexpr (kWidth > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kCount; i += 2) {
      v[i / 2] = fold<kWidth>(v[i], i + 1 < kCount ? v[i + 1] : Vec{}, CountLanes<kLanes>::List{});
    }
    fold_all<(kCount + 1) / 2, kWidth / 2>(v);
  }
}

/// totals[i] = sum(v[i]), bit for bit, in a third of the operations. Overwrites v.
template <int kCount>
[[gnu::always_inline]] inline void sum_each(Vec* v, float* totals) {
  fold_all<kCount, kLanes / 2>(v);
  __builtin_memcpy(totals, v, kCount * sizeof(float));
}

/// Exchanges the off-diagonal halves of the 2 x 2 block that rows a and b, kWidth apart, belong to.
template <int kWidth, int... kLane>
[[gnu::always_inline]] inline void exchange(Vec& a, Vec& b, LaneList<kLane...>) {
  const Vec upper = __builtin_shufflevector(a, b, ((kLane & kWidth) ? kLanes + kLane - kWidth : kLane)...);
  b = __builtin_shufflevector(a, b, ((kLane & kWidth) ? kLanes + kLane : kLane + kWidth)...);
  a = upper;
}

template <int kWidth>
[[gnu::always_inline]] inline void exchange_all(Vec (&square)[kLanes]) {
  if constexpr (kWidth > 0) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if (!(i & kWidth)) exchange<kWidth>(square[i], square[i | kWidth], CountLanes<kLanes>::List{});
    }
    exchange_all<kWidth / 2>(square);
  }
}

/// Transposes the square of kLanes vectors.
[[gnu::always_inline]] inline void transpose(Vec (&square)[kLanes]) {
  exchange_all<kLanes / 2>(square);
}

/// 0, 1, 2, ...
inline VecI iota() {
  VecI v{};
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}

/// e^x for x <= 88, relative error below 3e-7; below -87 it underflows to 0, exactly 0 for -infinity.
/// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a degree-6 polynomial (Cephes' coefficients).
inline Vec exp(Vec x) {
  const Vec clamped = max(broadcast(-87.0f), x);
  // Adding 1.5 * 2^23 rounds to an integer in the low bits.
  const Vec shifted = clamped * 1.44269504f + 12582912.0f;
  const Vec n = shifted - 12582912.0f;
  const Vec r = clamped - n * 0.693359375f + n * 2.12194440e-4f;
  Vec p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const VecI exponent = __builtin_convertvector(n, VecI) << 23;
  const Vec result = from_bits(bits(p) + exponent);
  return x < -87.0f ? Vec{} : result;
}

}  // namespace ringflash::kernels::RF_ISA
