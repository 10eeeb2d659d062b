#include "bench/peak_loops.h"

namespace ringflash::bench {
namespace {

constexpr int kAccumulators = 12;
constexpr int kLanes = 4;
typedef float Vector __attribute__((vector_size(kLanes * sizeof(float))));

#if defined(__aarch64__)
#define RF_IN_REGISTER(x) "+w"(x)
#else
#define RF_IN_REGISTER(x) "+x"(x)
#endif

void multiply_add(int64_t iterations) {
  Vector a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, a8{}, a9{}, a10{}, a11{};
  Vector x = {1, 2, 3, 4};
  const Vector y = {1e-3f, 1e-3f, 1e-3f, 1e-3f};
  for (int64_t i = 0; i < iterations; ++i) {
    // To the compiler these now hold anything; else the sums would become one, and the product leave the loop.
    asm volatile("" : RF_IN_REGISTER(x), RF_IN_REGISTER(a0), RF_IN_REGISTER(a1), RF_IN_REGISTER(a2), RF_IN_REGISTER(a3),
                      RF_IN_REGISTER(a4), RF_IN_REGISTER(a5), RF_IN_REGISTER(a6), RF_IN_REGISTER(a7));
    asm volatile("" : RF_IN_REGISTER(a8), RF_IN_REGISTER(a9), RF_IN_REGISTER(a10), RF_IN_REGISTER(a11));
    a0 += x * y, a1 += x * y, a2 += x * y, a3 += x * y, a4 += x * y, a5 += x * y;
    a6 += x * y, a7 += x * y, a8 += x * y, a9 += x * y, a10 += x * y, a11 += x * y;
  }
  const Vector sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;
  asm volatile("" : : "m"(sum));
}

}  // namespace

PeakLoop portable_loop() {
  return {"fp32_fma", 2.0 * kAccumulators * kLanes, multiply_add};
}

}  // namespace ringflash::bench
