#define RF_ISA avx512bf16
#define RF_ISA_NAME "avx512bf16"
#define RF_LANES 16
#define RF_BF16
#include "kernels/simd/bf16_table-inl.h"
