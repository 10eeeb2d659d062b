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

/// c[r][n] (+)= sum over k of a(r, k) b(k, n) for `rows` rows, a multiple of kKeyGranule, `slots` slots of k
/// and `columns`, a multiple of kLanes. b's slots of one k (or pair) are b_stride apart, c's rows c_stride.
template <bool kAdd>
inline void multiply(const Panels& a, int64_t rows, int64_t slots, const Slot* b, int64_t b_stride,
                     int64_t columns, float* c, int64_t c_stride) {
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
