// One ISA's table, made of the kernels in this folder. Included by <isa>/table.cc, which sets RF_ISA, RF_ISA_NAME
// and RF_LANES.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/adamw8-inl.h"
#include "kernels/simd/attention_backward-inl.h"
#include "kernels/simd/attention_split-inl.h"
#include "kernels/simd/block_table-inl.h"
#include "kernels/simd/elementwise-inl.h"
#include "kernels/simd/loss-inl.h"
#include "kernels/simd/matmul-inl.h"
#include "kernels/simd/training-inl.h"

namespace ringflash::kernels::RF_ISA {

extern const Table kTable;
const Table kTable = {
    .isa = RF_ISA_NAME,
    .key_type = KeyType::kF32,
    .attend = attend,
    .split_attention = &kSplitAttention,
    .attend_backward = attend_backward,
    .matmul_f32 = matmul_f32,
    .matmul_bf16 = matmul_bf16,
    .round_to_int8 = nullptr,  // int8_table-inl.h's
    .matmul_q8_0 = nullptr,
    .matmul_q4_0 = nullptr,
    .matmul_q4_1 = nullptr,
    .matmul_q5_0 = nullptr,
    .matmul_sparse = nullptr,
    .least_panel_tokens = 0,
    .rms_norm = rms_norm,
    .swiglu = swiglu,
    .geglu = geglu,
    .rope = rope,
    .add = add,
    .add_scaled = add_scaled,
    .rms_norm_backward = rms_norm_backward,
    .swiglu_bf16 = swiglu_bf16,
    .swiglu_backward_bf16 = swiglu_backward_bf16,
    .cross_entropy_bf16 = cross_entropy_bf16,
    .distillation_bf16 = distillation_bf16,
    .adamw = adamw,
    .adamw8 = adamw8,
    .block = kBlockKernels,
    .wide = nullptr,
};

}  // namespace ringflash::kernels::RF_ISA
