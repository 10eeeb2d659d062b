// Block-sparse products as plain loops, sums in double.
#pragma once

#include "kernels/block_kernels.h"

namespace ringflash::kernels::ref {

extern const BlockKernels kBlockKernels;

}  // namespace ringflash::kernels::ref
