// attention's matrix products on Intel's AMX: tiles of 16 rows of 64 bytes, tdpbf16ps multiplies two of them.
#pragma once

#include <immintrin.h>

#include "kernels/simd/operands-inl.h"

namespace ringflash::kernels::RF_ISA {

/// Rows come in multiples of this.
inline constexpr int64_t kKeyGranule = 32;

/// Sets this thread's tile registers up, all eight of them 16 rows of 64 bytes, and gives them back.
struct ProductSession {
  ProductSession() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
      uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
    } const config;
    _tile_loadconfig(&config);
  }
  ~ProductSession() { _tile_release(); }
  ProductSession(const ProductSession&) = delete;
  ProductSession& operator=(const ProductSession&) = delete;
};

/// The compiler does not know that tile loads and stores touch memory.
inline void settle_memory() {
  asm volatile("" ::: "memory");
}

/// multiply() for 32 rows and 32 columns, or 16 columns. Tiles 0 to 3 hold the sums, 4 and 5 the left factor,
/// 6 and 7 the right one.
template <bool kAdd, bool kWide>
inline void multiply_tiles(const Panels& a, int64_t panels, const Slot* b, int64_t b_stride, float* c,
                           int64_t c_stride) {
  const int64_t row_bytes = a.row * 4, b_bytes = b_stride * 4, c_bytes = c_stride * 4;
  if constexpr (kAdd) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(2, c + 16 * c_stride, c_bytes);
    if constexpr (kWide) _tile_loadd(1, c + 16, c_bytes);
    if constexpr (kWide) _tile_loadd(3, c + 16 * c_stride + 16, c_bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int64_t panel = 0; panel < panels; ++panel) {
    const Slot* slots = a.data + panel * a.panel;
    if constexpr (!kWide) prefetch_rows<32>(slots + 32 * a.row, a.row);
    _tile_loadd(4, slots, row_bytes);
    _tile_loadd(6, b, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(5, slots + 16 * a.row, row_bytes);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (kWide) {
      _tile_loadd(7, b + 16, b_bytes);
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
    b += kPanelSlots * b_stride;
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(2, c + 16 * c_stride, c_bytes);
  if constexpr (kWide) _tile_stored(1, c + 16, c_bytes);
  if constexpr (kWide) _tile_stored(3, c + 16 * c_stride + 16, c_bytes);
}

/// As products_fma-inl.h's; slots are a multiple of kPanelSlots, columns of 16, or kQuad for at least so many.
template <bool kAdd>
[[gnu::noinline]] inline void multiply(Panels a, int64_t rows, int64_t slots, const Slot* b, int64_t b_stride,
                                       int64_t columns, float* c, int64_t c_stride) {
  settle_memory();
  for (; rows > 0; rows -= 32) {
    int64_t n = 0;
    for (; n + 32 <= columns; n += 32) {
      multiply_tiles<kAdd, true>(a, slots / kPanelSlots, b + n, b_stride, c + n, c_stride);
    }
    if (n < columns) multiply_tiles<kAdd, false>(a, slots / kPanelSlots, b + n, b_stride, c + n, c_stride);
    a.data += 32 * a.row;
    c += 32 * c_stride;
  }
  settle_memory();
}

}  // namespace ringflash::kernels::RF_ISA
