// The table of an ISA that has attention kernels of its own and everything else from another one.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd/attention_backward-inl.h"
#include "kernels/simd/attention_forward-inl.h"

namespace ringflash::kernels::RF_ISA {

Table with_attention(const Table& base);
Table with_attention(const Table& base) {
  Table table = base;
  table.isa = RF_ISA_NAME;
  table.key_type = KeyType::kBf16;
  table.attend = attend;
  table.attend_backward = attend_backward;
  return table;
}

}  // namespace ringflash::kernels::RF_ISA
