// How the factors of attention's matrix products lie in memory. Both are read in slots of 4 bytes along the
// summed index k: one float, or where RF_BF16 is defined a pair of bf16.
//
// The left factor comes in panels of 32 k, row by row. The right one is slot-major: for each k (or pair), the
// columns side by side.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/vec.h"

#if RF_LANES != 4
#include <immintrin.h>
#endif

namespace ringflash::kernels::RF_ISA {

/// 4 bytes of either type. They are only loaded, stored and handed to the products.
using Slot = float;

#if defined(RF_BF16)
inline constexpr int64_t kSlotNumbers = 2;
#else
inline constexpr int64_t kSlotNumbers = 1;
#endif
inline constexpr int64_t kPanelSlots = 32 / kSlotNumbers;

/// Products may be asked for so few columns alone.
inline constexpr int64_t kQuad = 4;

/// sum + a * b, in bf16 over both numbers of each slot.
inline Vec multiply_add(Vec a, Vec b, Vec sum) {
#if defined(RF_BF16)
  return reinterpret_cast<Vec>(_mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a),
                                                reinterpret_cast<__m512bh>(b)));
#else
  return sum + a * b;
#endif
}

/// A left factor: the slots of row r and panel p start at data + r * row + p * panel.
struct Panels {
  const Slot* data;
  int64_t row, panel;
};

/// Asks for a panel of kRows rows. Few columns have little to do with each, and rows come from memory: no prefetcher
/// follows so many at once.
template <int kRows>
inline void prefetch_rows(const Slot* panel, int64_t row) {
#pragma GCC unroll 32
  for (int r = 0; r < kRows; ++r) {
    for (int64_t slot = 0; slot < kPanelSlots; slot += 16) __builtin_prefetch(panel + r * row + slot, 0, 2);
  }
}

/// The keys (or values) of block `block`, a row each, as a left factor.
inline Panels key_rows(const KeyRows& keys, int64_t block, int64_t padded_dim) {
  const int64_t row = padded_dim / kSlotNumbers;
  return {static_cast<const Slot*>(keys.k) + block * kBlockKeys * row, row, kPanelSlots};
}

/// Their transpose from block `block` on, a panel for each block.
inline Panels value_columns(const KeyRows& keys, int64_t block) {
  const int64_t panel = keys.v_block / kSlotNumbers;
  return {static_cast<const Slot*>(keys.v) + block * panel, keys.v_row / kSlotNumbers, panel};
}

inline Vec broadcast_slot(const Slot* p) {
#if defined(RF_BF16)
  return reinterpret_cast<Vec>(_mm512_set1_ps(*p));  // no arithmetic: the bits are a pair of numbers
#else
  return broadcast(*p);
#endif
}

#if defined(RF_BF16)
/// first's numbers rounded, then second's.
inline __m512i to_bf16(Vec first, Vec second) {
  return reinterpret_cast<__m512i>(
      _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(second), reinterpret_cast<__m512>(first)));
}
#endif

/// v as the products see it.
inline Vec rounded(Vec v) {
#if defined(RF_BF16)
  const __m512i wide = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(to_bf16(v, v)));
  return reinterpret_cast<Vec>(_mm512_slli_epi32(wide, 16));
#else
  return v;
#endif
}

/// Writes kLanes columns of a right factor for two successive k, `even` being the first of a pair. `target`
/// is where the columns of the earlier one begin; slots of one k are `stride` apart.
inline void store_right(Slot* target, [[maybe_unused]] int64_t stride, Vec even, Vec odd) {
#if defined(RF_BF16)
  alignas(64) static constexpr uint16_t kInterleave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(kInterleave);
  _mm512_storeu_si512(target, _mm512_permutexvar_epi16(order, to_bf16(even, odd)));
#else
  store(target, even);
  store(target + stride, odd);
#endif
}

/// Where store_right() puts the pair k, k + 1 of a right factor with slots `stride` apart.
inline Slot* right_slot(Slot* base, int64_t k, int64_t stride) {
  return base + k / kSlotNumbers * stride;
}

/// kLanes slots of the first `count` numbers at p, then zeros.
inline Vec load_slots(const float* p, int64_t count) {
#if defined(RF_BF16)
  return reinterpret_cast<Vec>(
      to_bf16(load_partial(p, count), count > kLanes ? load_partial(p + kLanes, count - kLanes) : Vec{}));
#else
  return load_partial(p, count);
#endif
}

/// Writes 2 * kLanes numbers of a left factor's row.
inline void store_left(Slot* target, Vec first, Vec second) {
#if defined(RF_BF16)
  _mm512_storeu_si512(target, to_bf16(first, second));
#else
  store(target, first);
  store(target + kLanes, second);
#endif
}

}  // namespace ringflash::kernels::RF_ISA
