// Products of many tokens at once, on processors with a unit that multiplies whole tiles of bf16 (AMX). Weights in
// any format are widened to bf16 a block at a time, which pays once enough tokens share it.
#pragma once

#include <cstdint>

#include "base/float16.h"
#include "format/block_q4_0.h"
#include "format/block_q4_1.h"
#include "format/block_q5_0.h"
#include "format/block_q8_0.h"
#include "format/sparse_shape.h"

namespace ringflash::kernels {

inline constexpr int64_t kWideTileTokens = 32, kWidePanelInputs = 32;

/// From so many tokens on these products are faster than those that read the weights as they are; of the index form, where
/// looking activations up pays for longer than expanding weights does, the latter.
inline constexpr int64_t kLeastWideTokens = 32, kLeastWideIndexTokens = 192;

/// Activations [tokens, in] rounded to bf16, [tile of 32 tokens][panel of 32 inputs][token][input], zeros past the last
/// token. `in` is a multiple of 32.
struct WideTokens {
  const bf16* values;  ///< [numbers()]
  int64_t tokens, in;

  int64_t tiles() const { return (tokens + kWideTileTokens - 1) / kWideTileTokens; }
  int64_t numbers() const { return tiles() * kWideTileTokens * in; }
};

/// y[t, o] = sum_i x[t, i] * w[o, i] as Table's products, of activations and weights rounded to bf16 (S4's are exact),
/// summed in fp32. A token's result has the same bits in any batch and any range of outputs that begins at a multiple
/// of 32.
struct WideKernels {
  /// Rounds tiles [begin, end) of x [tokens, in].
  void (*round)(const float* x, int64_t tokens, int64_t in, int64_t begin, int64_t end, bf16* values);

  void (*matmul_bf16)(const WideTokens& x, const bf16* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_q8_0)(const WideTokens& x, const BlockQ8_0* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_q4_0)(const WideTokens& x, const BlockQ4_0* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_q4_1)(const WideTokens& x, const BlockQ4_1* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_q5_0)(const WideTokens& x, const BlockQ5_0* w, float* y, int64_t y_stride, int64_t out_begin,
                      int64_t out_end);
  void (*matmul_sparse)(const WideTokens& x, const SparseFormat& format, const std::byte* blocks, float* y,
                        int64_t y_stride, RowBlocks rows);
};

}  // namespace ringflash::kernels
