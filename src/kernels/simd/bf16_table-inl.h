// The table of an ISA that multiplies bf16 in hardware: attention and products with bf16 weights of its own,
// everything else from another table.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/attention_backward-inl.h"
#include "kernels/simd/attention_split-inl.h"
#include "kernels/simd/block_table-inl.h"
#include "kernels/simd/matmul_bf16-inl.h"
#if defined(RF_AMX)
#include "kernels/simd/matmul_wide_amx-inl.h"
#endif

namespace ringflash::kernels::RF_ISA {

static decltype(Table::matmul_bf16) base_matmul_bf16;

/// What does not fit the hardware's tiles, or lies across its pairs, goes to the other table's kernel.
inline void matmul_bf16(const float* x, const bf16* w, float* y, int64_t tokens, int64_t in, int64_t y_stride,
                        int64_t out_begin, int64_t out_end) {
  const bool aligned = reinterpret_cast<uintptr_t>(w) % sizeof(Slot) == 0;
  const bool fits = aligned && in % kMatmulInputs == 0 && out_begin % kMatmulRows == 0;
  const int64_t tiles_end = fits ? out_begin + (out_end - out_begin) / kMatmulRows * kMatmulRows : out_begin;
  if (tiles_end > out_begin) matmul_pairs(x, w, y, tokens, in, y_stride, out_begin, tiles_end);
  if (tiles_end < out_end) base_matmul_bf16(x, w, y, tokens, in, y_stride, tiles_end, out_end);
}

Table with_bf16(const Table& base);
Table with_bf16(const Table& base) {
  base_matmul_bf16 = base.matmul_bf16;
  Table table = base;
  table.isa = RF_ISA_NAME;
  table.key_type = KeyType::kBf16;
  table.attend = attend;
  table.split_attention = &kSplitAttention;
  table.attend_backward = attend_backward;
  table.matmul_bf16 = matmul_bf16;
  table.block = kBlockKernels;
#if defined(RF_AMX)
  table.wide = &kWideKernels;
#endif
  return table;
}

}  // namespace ringflash::kernels::RF_ISA
