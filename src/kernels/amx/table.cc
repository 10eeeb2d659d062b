#define RF_ISA amx
#define RF_ISA_NAME "amx"
#define RF_LANES 16
#define RF_BF16
#define RF_AMX
#include "kernels/simd/bf16_table-inl.h"
