#define RF_ISA avx512
#define RF_ISA_NAME "avx512"
#define RF_LANES 16
#include "kernels/simd/table-inl.h"
