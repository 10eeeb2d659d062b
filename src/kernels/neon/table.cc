#define RF_ISA neon
#define RF_ISA_NAME "neon"
#define RF_LANES 4
#include "kernels/simd/table-inl.h"
#include "kernels/simd/int8_table-inl.h"
