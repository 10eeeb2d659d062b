#include "bench/peak_loops.h"

namespace ringflash::bench {
namespace {

constexpr int kAccumulators = 8;
constexpr int kLanes = 4;

void multiply_add(int64_t iterations) {
  typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));
  Vector a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{};
  Vector x = {1, 2, 3, 4}, y = {1e-3f, 1e-3f, 1e-3f, 1e-3f};
  asm volatile("" : "+m"(x), "+m"(y));  // their values are unknown to the compiler
  for (int64_t i = 0; i < iterations; ++i) {
    a0 += x * y, a1 += x * y, a2 += x * y, a3 += x * y;
    a4 += x * y, a5 += x * y, a6 += x * y, a7 += x * y;
    // Without this the product is taken out of the loop and the eight sums become one.
#if defined(__aarch64__)
    asm volatile("" : "+w"(x), "+w"(a0), "+w"(a1), "+w"(a2), "+w"(a3), "+w"(a4), "+w"(a5), "+w"(a6), "+w"(a7));
#elif defined(__x86_64__)
    asm volatile("" : "+x"(x), "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5), "+x"(a6), "+x"(a7));
#endif
  }
  Vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7;
  asm volatile("" : : "m"(sum));
}

}  // namespace

PeakLoop portable_loop() {
  return {"fp32_fma", 2.0 * kAccumulators * kLanes, multiply_add};
}

}  // namespace ringflash::bench
