#pragma once
#include "kernels/simd/vec.h"
#include "kernels/ref/ref.h"
namespace ringflash::kernels::RF_ISA {
using ref::matmul_f32;
using ref::matmul_bf16;
using ref::matmul_q8_0;
}
