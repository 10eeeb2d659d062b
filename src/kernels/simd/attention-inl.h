#pragma once
#include "kernels/simd/vec.h"
#include "kernels/ref/ref.h"
namespace ringflash::kernels::RF_ISA {
using ref::attend;
using ref::attend_backward;
}
