#include "kernels/ref/ref.h"
namespace ringflash::kernels::ref {
void rms_norm(const float*, const float*, float*, int64_t, int64_t, float) { RF_UNREACHABLE(); }
void swiglu(const float*, const float*, float*, int64_t) { RF_UNREACHABLE(); }
void add(const float*, float*, int64_t) { RF_UNREACHABLE(); }
}
