#define RF_ISA avx512vnni
#define RF_LANES 16
#include "kernels/simd/int8_table-inl.h"
