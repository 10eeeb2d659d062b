#include "kernels/ref/block_sparse.h"
#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {

const Table kTable = {
    .isa = "scalar",
    .key_type = KeyType::kF32,
    .attend = attend,
    .split_attention = nullptr,
    .attend_backward = attend_backward,
    .matmul_f32 = matmul_f32,
    .matmul_bf16 = matmul_bf16,
    .round_to_int8 = round_to_int8,
    .matmul_q8_0 = matmul_q8_0,
    .matmul_q4_0 = matmul_q4_0,
    .matmul_q4_1 = matmul_q4_1,
    .matmul_q5_0 = matmul_q5_0,
    .matmul_sparse = matmul_sparse,
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

}  // namespace ringflash::kernels::ref
