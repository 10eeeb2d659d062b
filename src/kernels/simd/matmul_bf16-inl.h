// Matrix products with bf16 weights and activations rounded to bf16. The order of summation does not depend
// on the number of tokens.
#pragma once

#include "kernels/simd/attention_tile-inl.h"
#include "kernels/simd/matmul-inl.h"

namespace ringflash::kernels::RF_ISA {

#if defined(RF_AMX)

// The same product that attention is made of, with the weights' rows on the left and tokens side by side on
// the right.
inline constexpr int64_t kMatmulInputs = 32;  ///< `in` must be a multiple

/// Rows of weights whose results are turned round together.
inline constexpr int64_t kMatmulRows = 32;

/// The products of `count` tokens, at most kVecs * kLanes, with rows [out_begin, out_end), a multiple of
/// kMatmulRows.
template <int kVecs>
inline void matmul_tile(const float* x, const bf16* w, float* y, int64_t count, int64_t in, int64_t y_stride,
                        int64_t out_begin, int64_t out_end) {
  constexpr int64_t kStride = kVecs * kLanes;
  const TileRows tokens(0, count, 1);
  Scratch scratch((in + kMatmulRows) * kStride);
  Slot* tile = scratch.take(in * kStride);
  float* sums = scratch.take(kMatmulRows * kStride);
  load_tile<kVecs>(tokens, x, in, 0, in, in, tile);
  Vec one[kVecs];
  for (Vec& factor : one) factor = broadcast(1.0f);
  const int64_t row = in / kSlotNumbers;
  const Slot* weights = reinterpret_cast<const Slot*>(w);
  for (int64_t o = out_begin; o < out_end; o += kMatmulRows) {
    multiply<false>({weights + o * row, row, kPanelSlots}, kMatmulRows, row, tile, kStride, kStride, sums,
                    kStride);
    store_tile<kVecs, false>(tokens, sums, one, kMatmulRows, y_stride, 0, y + o);
  }
}

/// kernels.h's matmul_bf16 for whole kMatmulRows from out_begin on.
inline void matmul_pairs(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in,
                         int64_t y_stride, int64_t out_begin, int64_t out_end) {
  [[maybe_unused]] const ProductSession session;
  while (tokens > 0) {
    const int64_t count = smaller(tokens, tokens <= kLanes ? kLanes : kTileVecs * kLanes);
    if (count <= kLanes) {
      matmul_tile<1>(x, w, y, count, in, y_stride, out_begin, out_end);
    } else {
      matmul_tile<kTileVecs>(x, w, y, count, in, y_stride, out_begin, out_end);
    }
    x += count * in;
    y += count * y_stride;
    tokens -= count;
  }
}

#else

inline constexpr int64_t kMatmulInputs = 2, kMatmulRows = 1;

inline void matmul_pairs(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in,
                         int64_t y_stride, int64_t out_begin, int64_t out_end) {
  const int64_t slots = in / kSlotNumbers;
  Scratch scratch(tokens * slots + kLanes);
  Slot* pairs = scratch.take(tokens * slots + kLanes);
  for (int64_t i = 0; i < tokens * in; i += kLanes * kSlotNumbers) {
    store(pairs + i / kSlotNumbers, load_slots(x + i, tokens * in - i));
  }
  matmul(pairs, PlainRows<Slot>{reinterpret_cast<const Slot*>(w), slots}, y, tokens, y_stride, out_begin,
         out_end);
}

#endif

}  // namespace ringflash::kernels::RF_ISA
