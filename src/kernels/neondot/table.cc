#define RF_ISA neondot
#define RF_LANES 4
#define RF_DOTPROD
#include "kernels/simd/int8_table-inl.h"
