// The kernels of products in 8 bits, which need other instructions than the rest of a table.
#pragma once

#include "kernels/simd/matmul_int8-inl.h"
#include "kernels/simd/matmul_sparse-inl.h"
#include "kernels/simd/round_int8-inl.h"

namespace ringflash::kernels::RF_ISA {

void add_int8(Table& table);
void add_int8(Table& table) {
  table.round_to_int8 = round_to_int8;
  table.matmul_q8_0 = matmul_q8_0;
  table.matmul_q4_0 = matmul_q4_0;
  table.matmul_q4_1 = matmul_q4_1;
  table.matmul_q5_0 = matmul_q5_0;
  table.matmul_sparse = matmul_sparse;
#if RF_LANES == 16
  table.least_panel_tokens = kLeastPanelTokens;
#endif
}

}  // namespace ringflash::kernels::RF_ISA
