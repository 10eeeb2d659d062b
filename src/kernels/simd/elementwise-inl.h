#pragma once
#include "kernels/simd/vec.h"
#include "kernels/ref/ref.h"
namespace ringflash::kernels::RF_ISA {
using ref::rms_norm;
using ref::swiglu;
using ref::add;
}
