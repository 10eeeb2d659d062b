// attention's matrix products in vector registers: fp32 with multiply-add, or bf16 pairs with vdpbf16ps where
// RF_BF16 is defined.
#pragma once

#include "kernels/simd/operands-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Rows come in multiples of this.
inline constexpr int64_t kKeyGranule = 8;

/// What a kernel that multiplies has to set up for its thread: nothing.
struct ProductSession {};

/// Rows of the result held in registers next to `vecs` vectors: together with the operands they fill the 16
/// registers of AVX2 or the 32 of AVX-512 and NEON.
constexpr int product_rows(int vecs) {
  return vecs == 1 ? 8 : kLanes == 8 ? 6 : vecs == 4 ? 4 : 8;
}

/// kRows rows of multiply() times kVecs vectors of its columns.
template <int kVecs, bool kAdd, int kRows>
[[gnu::always_inline]] inline void multiply_block(const Panels& a, int64_t slots, const Slot* b,
                                                  int64_t b_stride, float* c, int64_t c_stride) {
  Vec sum[kRows][kVecs];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) sum[r][v] = kAdd ? load(c + r * c_stride + v * kLanes) : Vec{};
  }
  for (const Slot* panel = a.data; slots > 0; slots -= kPanelSlots, panel += a.panel) {
    const int64_t end = slots < kPanelSlots ? slots : kPanelSlots;
    if constexpr (kVecs == 1) prefetch_rows<kRows>(panel + kRows * a.row, a.row);
    for (int64_t slot = 0; slot < end; ++slot) {
      Vec operand[kVecs];
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) operand[v] = load(b + v * kLanes);
      b += b_stride;
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        Vec factor = broadcast_slot(panel + r * a.row + slot);
        keep_in_register(factor);
#pragma GCC unroll 4
        for (int v = 0; v < kVecs; ++v) sum[r][v] = multiply_add(operand[v], factor, sum[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) store(c + r * c_stride + v * kLanes, sum[r][v]);
  }
}

template <int kVecs, bool kAdd, int kRows = product_rows(kVecs)>
[[gnu::noinline]] inline void multiply_columns(Panels a, int64_t rows, int64_t slots, const Slot* b,
                                               int64_t b_stride, float* c, int64_t c_stride) {
  for (; rows >= kRows; rows -= kRows) {
    multiply_block<kVecs, kAdd, kRows>(a, slots, b, b_stride, c, c_stride);
    a.data += kRows * a.row;
    c += kRows * c_stride;
  }
  if constexpr (kRows > 2) {
    if (rows > 0) multiply_columns<kVecs, kAdd, kRows / 2>(a, rows, slots, b, b_stride, c, c_stride);
  }
}

#if RF_LANES > 4
// A decoded token has few columns, a head each: here kQuadRows rows share a vector, four columns (or slots) of each.
inline constexpr int kQuadRows = kLanes / kQuad;

#if RF_LANES == 16
inline Vec load_quads(const float* p, int64_t stride) {
  __m512 v = _mm512_maskz_broadcast_f32x4(0x000f, _mm_loadu_ps(p));
  v = _mm512_mask_broadcast_f32x4(v, 0x00f0, _mm_loadu_ps(p + stride));
  v = _mm512_mask_broadcast_f32x4(v, 0x0f00, _mm_loadu_ps(p + 2 * stride));
  return reinterpret_cast<Vec>(_mm512_mask_broadcast_f32x4(v, 0xf000, _mm_loadu_ps(p + 3 * stride)));
}
inline void store_quads(float* p, int64_t stride, Vec v) {
  const auto quads = reinterpret_cast<__m512>(v);
  _mm_storeu_ps(p, _mm512_maskz_extractf32x4_ps(15, quads, 0));
  _mm_storeu_ps(p + stride, _mm512_maskz_extractf32x4_ps(15, quads, 1));
  _mm_storeu_ps(p + 2 * stride, _mm512_maskz_extractf32x4_ps(15, quads, 2));
  _mm_storeu_ps(p + 3 * stride, _mm512_maskz_extractf32x4_ps(15, quads, 3));
}
inline Vec broadcast_quad(const float* p) {
  return reinterpret_cast<Vec>(_mm512_maskz_broadcast_f32x4(0xffff, _mm_loadu_ps(p)));
}
/// A slot of each row, four times.
template <int kSlot>
inline Vec spread_slot(Vec quads) {
  return reinterpret_cast<Vec>(_mm512_maskz_permute_ps(0xffff, reinterpret_cast<__m512>(quads), kSlot * 0x55));
}
#else
inline Vec load_quads(const float* p, int64_t stride) {
  return reinterpret_cast<Vec>(_mm256_loadu2_m128(p + stride, p));
}
inline void store_quads(float* p, int64_t stride, Vec v) {
  _mm256_storeu2_m128(p + stride, p, reinterpret_cast<__m256>(v));
}
inline Vec broadcast_quad(const float* p) {
  return reinterpret_cast<Vec>(_mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)));
}
template <int kSlot>
inline Vec spread_slot(Vec quads) {
  return reinterpret_cast<Vec>(_mm256_permute_ps(reinterpret_cast<__m256>(quads), kSlot * 0x55));
}
#endif

/// kVecs * kQuadRows rows of multiply_few(). Each sum takes its terms in multiply_block()'s order: the same bits.
template <bool kAdd, int kVecs>
[[gnu::always_inline]] inline void multiply_quads(const Panels& a, int64_t slots, const Slot* b, int64_t b_stride,
                                                  float* c, int64_t c_stride) {
  Vec sum[kVecs];
#pragma GCC unroll 4
  for (int r = 0; r < kVecs; ++r) sum[r] = kAdd ? load_quads(c + r * kQuadRows * c_stride, c_stride) : Vec{};
  for (const Slot* panel = a.data; slots > 0; slots -= kPanelSlots, panel += a.panel) {
    const int64_t end = slots < kPanelSlots ? slots : kPanelSlots;
    prefetch_rows<kVecs * kQuadRows>(panel + kVecs * kQuadRows * a.row, a.row);
    for (int64_t slot = 0; slot < end; slot += 4, b += 4 * b_stride) {
      const Vec b0 = broadcast_quad(b), b1 = broadcast_quad(b + b_stride);
      const Vec b2 = broadcast_quad(b + 2 * b_stride), b3 = broadcast_quad(b + 3 * b_stride);
#pragma GCC unroll 4
      for (int r = 0; r < kVecs; ++r) {
        const Vec quads = load_quads(panel + r * kQuadRows * a.row + slot, a.row);
        sum[r] = multiply_add(b0, spread_slot<0>(quads), sum[r]);
        sum[r] = multiply_add(b1, spread_slot<1>(quads), sum[r]);
        sum[r] = multiply_add(b2, spread_slot<2>(quads), sum[r]);
        sum[r] = multiply_add(b3, spread_slot<3>(quads), sum[r]);
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kVecs; ++r) store_quads(c + r * kQuadRows * c_stride, c_stride, sum[r]);
}

/// multiply() for kQuad columns.
template <bool kAdd>
[[gnu::noinline]] inline void multiply_few(Panels a, int64_t rows, int64_t slots, const Slot* b, int64_t b_stride,
                                           float* c, int64_t c_stride) {
  constexpr int kVecs = 4, kRows = kVecs * kQuadRows;
  for (; rows >= kRows; rows -= kRows) {
    multiply_quads<kAdd, kVecs>(a, slots, b, b_stride, c, c_stride);
    a.data += kRows * a.row;
    c += kRows * c_stride;
  }
  if constexpr (kRows > kKeyGranule) {
    if (rows > 0) multiply_quads<kAdd, kKeyGranule / kQuadRows>(a, slots, b, b_stride, c, c_stride);
  }
}
#endif

/// c[r][n] (+)= sum over k of a(r, k) b(k, n) for `rows` rows, a multiple of kKeyGranule, `slots` slots of k, a multiple
/// of 4, and `columns`, kQuad or a multiple of kLanes. b's slots of one k (or pair) are b_stride apart, c's rows c_stride.
template <bool kAdd>
inline void multiply(const Panels& a, int64_t rows, int64_t slots, const Slot* b, int64_t b_stride,
                     int64_t columns, float* c, int64_t c_stride) {
#if RF_LANES > 4
  if (columns == kQuad) return multiply_few<kAdd>(a, rows, slots, b, b_stride, c, c_stride);
#endif
  constexpr int kVecs = kLanes == 8 ? 2 : 4;
  int64_t n = 0;
  for (; n + kVecs * kLanes <= columns; n += kVecs * kLanes) {
    multiply_columns<kVecs, kAdd>(a, rows, slots, b + n, b_stride, c + n, c_stride);
  }
  if constexpr (kVecs == 4) {
    for (; n + 2 * kLanes <= columns; n += 2 * kLanes) {
      multiply_columns<2, kAdd>(a, rows, slots, b + n, b_stride, c + n, c_stride);
    }
  }
  for (; n < columns; n += kLanes) {
    multiply_columns<1, kAdd>(a, rows, slots, b + n, b_stride, c + n, c_stride);
  }
}

}  // namespace ringflash::kernels::RF_ISA
