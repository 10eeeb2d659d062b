// The block-sparse kernels of one ISA.
#pragma once

#if defined(RF_AMX)
#include "kernels/simd/block_gradient_amx-inl.h"
#include "kernels/simd/block_sparse_amx-inl.h"
#else
#include "kernels/simd/block_gradient-inl.h"
#include "kernels/simd/block_sparse-inl.h"
#endif

namespace ringflash::kernels::RF_ISA {

#if defined(RF_AMX)
inline constexpr decltype(BlockKernels::gather_columns) block_gather_columns = nullptr;  // its tiles gather anyway
#endif

inline constexpr BlockKernels kBlockKernels = {.pack_tokens = pack_tokens,
                                               .unpack_tokens = unpack_tokens,
                                               .pack_weights = pack_weights,
                                               .transposed_numbers = transposed_numbers,
                                               .forward = block_forward,
                                               .backward_input = block_backward_input,
                                               .gather_columns = block_gather_columns,
                                               .backward_weight = block_backward_weight};

}  // namespace ringflash::kernels::RF_ISA
