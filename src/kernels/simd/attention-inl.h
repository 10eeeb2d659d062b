// attend and attend_backward of one ISA.
#pragma once

#include "kernels/simd/attention_backward-inl.h"
#include "kernels/simd/attention_forward-inl.h"
