// Written in assembly, since a compiler may spill accumulators, and then this would measure the cache. Each loop keeps
// enough independent accumulators in flight to hide the latency of its instruction.
#include "bench/peak_loops.h"
#include "kernels/kernels.h"

namespace ringflash::bench {
namespace {

// Factors other than 0: multiplying zeros takes less power, and so a processor may run faster at it.
constexpr float kFactors[2] = {1.001f, 1e-3f};
constexpr uint32_t kBf16Factors[2] = {0x3f803f80u, 0x3a833a83u};  // pairs of 1 and of 0.001

// Twelve accumulators and two factors: registers that every x86-64 compiler knows, so that this file needs no flags.
#define RF_EACH_12(OP) OP(0) OP(1) OP(2) OP(3) OP(4) OP(5) OP(6) OP(7) OP(8) OP(9) OP(10) OP(11)
#define RF_CLEAR_YMM(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define RF_CLEAR_ZMM(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define RF_FMA_YMM(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #i "\n\t"
#define RF_FMA_ZMM(i) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #i "\n\t"
#define RF_DOT_ZMM(i) "vdpbf16ps %%zmm12, %%zmm13, %%zmm" #i "\n\t"
#define RF_CLOBBERS                                                                                   \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
      "xmm12", "xmm13"

void fma_avx2(int64_t iterations) {
  asm volatile("vbroadcastss %[x], %%ymm12\n\t"
               "vbroadcastss %[y], %%ymm13\n\t"
               RF_EACH_12(RF_CLEAR_YMM)
               "1:\n\t"
               RF_EACH_12(RF_FMA_YMM)
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "vzeroupper"
               : [n] "+r"(iterations)
               : [x] "m"(kFactors[0]), [y] "m"(kFactors[1])
               : RF_CLOBBERS);
}

void fma_avx512(int64_t iterations) {
  asm volatile("vbroadcastss %[x], %%zmm12\n\t"
               "vbroadcastss %[y], %%zmm13\n\t"
               RF_EACH_12(RF_CLEAR_ZMM)
               "1:\n\t"
               RF_EACH_12(RF_FMA_ZMM)
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "vzeroupper"
               : [n] "+r"(iterations)
               : [x] "m"(kFactors[0]), [y] "m"(kFactors[1])
               : RF_CLOBBERS);
}

void dot_bf16(int64_t iterations) {
  asm volatile("vpbroadcastd %[x], %%zmm12\n\t"
               "vpbroadcastd %[y], %%zmm13\n\t"
               RF_EACH_12(RF_CLEAR_ZMM)
               "1:\n\t"
               RF_EACH_12(RF_DOT_ZMM)
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "vzeroupper"
               : [n] "+r"(iterations)
               : [x] "m"(kBf16Factors[0]), [y] "m"(kBf16Factors[1])
               : RF_CLOBBERS);
}

/// The operand of ldtilecfg: eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

/// Four accumulators over two tiles of each operand, as a matrix product has it.
void dot_amx(int64_t iterations) {
  alignas(64) static const TileConfig config;
  alignas(64) uint32_t factors[16 * 16];
  for (uint32_t& factor : factors) factor = kBf16Factors[1];
  int64_t row_bytes = 64;
  asm volatile("ldtilecfg %[config]\n\t"
               "tilezero %%tmm0\n\t"
               "tilezero %%tmm1\n\t"
               "tilezero %%tmm2\n\t"
               "tilezero %%tmm3\n\t"
               "tileloadd (%[factors], %[stride]), %%tmm4\n\t"
               "tileloadd (%[factors], %[stride]), %%tmm5\n\t"
               "tileloadd (%[factors], %[stride]), %%tmm6\n\t"
               "tileloadd (%[factors], %[stride]), %%tmm7\n\t"
               "1:\n\t"
               "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n\t"
               "tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n\t"
               "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n\t"
               "tdpbf16ps %%tmm7, %%tmm5, %%tmm3\n\t"
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "tilerelease"
               : [n] "+r"(iterations)
               : [config] "m"(config), [factors] "r"(factors), [stride] "r"(row_bytes)
               : "cc", "memory");
}

}  // namespace

std::vector<PeakLoop> x86_loops() {
  std::vector<PeakLoop> loops;
  if (__builtin_cpu_supports("avx512f")) {
    loops.push_back({"fp32_fma", 2.0 * 12 * 16, fma_avx512});
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    loops.push_back({"fp32_fma", 2.0 * 12 * 8, fma_avx2});
  }
  if (__builtin_cpu_supports("avx512bf16")) loops.push_back({"vdpbf16ps", 2.0 * 12 * 32, dot_bf16});
  if (kernels::may_use_amx()) loops.push_back({"tdpbf16ps", 4 * 2.0 * 16 * 16 * 32, dot_amx});
  return loops;
}

}  // namespace ringflash::bench
