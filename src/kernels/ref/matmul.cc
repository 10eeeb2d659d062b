#include "kernels/ref/ref.h"
namespace ringflash::kernels::ref {
void matmul_f32(const float*, const float*, float*, int64_t, int64_t, int64_t, int64_t, int64_t) { RF_UNREACHABLE(); }
void matmul_bf16(const float*, const bf16*, float*, int64_t, int64_t, int64_t, int64_t, int64_t) { RF_UNREACHABLE(); }
void matmul_q8_0(const float*, const BlockQ8_0*, float*, int64_t, int64_t, int64_t, int64_t, int64_t) { RF_UNREACHABLE(); }
}
