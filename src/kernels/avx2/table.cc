#define RF_ISA avx2
#define RF_ISA_NAME "avx2"
#define RF_LANES 8
#include "kernels/simd/table-inl.h"
#include "kernels/simd/int8_table-inl.h"
