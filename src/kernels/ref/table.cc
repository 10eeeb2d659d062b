#include "kernels/ref/ref.h"

namespace ringflash::kernels::ref {

const Table kTable = {
    .isa = "scalar",
    .attend = attend,
    .attend_backward = attend_backward,
    .matmul_f32 = matmul_f32,
    .matmul_bf16 = matmul_bf16,
    .matmul_q8_0 = matmul_q8_0,
    .rms_norm = rms_norm,
    .swiglu = swiglu,
    .add = add,
};

}  // namespace ringflash::kernels::ref
