// Written in assembly, since a compiler may spill accumulators, and then this would measure the cache. Each loop keeps
// enough independent accumulators in flight to hide the latency of its instruction.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "bench/peak_loops.h"

namespace ringflash::bench {
namespace {

// Factors other than 0: multiplying zeros takes less power, and so a processor may run faster at it.
constexpr float kFactors[2] = {1.001f, 1e-3f};
constexpr uint32_t kBf16Factors[2] = {0x3f803f80u, 0x3a833a83u};  // pairs of 1 and of 0.001

#define RF_EACH_8(OP, A, B) OP(0, A, B) OP(1, A, B) OP(2, A, B) OP(3, A, B) OP(4, A, B) OP(5, A, B) OP(6, A, B) OP(7, A, B)
#define RF_EACH_12(OP, A, B) RF_EACH_8(OP, A, B) OP(8, A, B) OP(9, A, B) OP(10, A, B) OP(11, A, B)
#define RF_EACH_16(OP, A, B) RF_EACH_12(OP, A, B) OP(12, A, B) OP(13, A, B) OP(14, A, B) OP(15, A, B)
#define RF_CLEAR_YMM(i, A, B) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t"
#define RF_CLEAR_ZMM(i, A, B) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n\t"
#define RF_FMA_YMM(i, A, B) "vfmadd231ps %%ymm" #A ", %%ymm" #B ", %%ymm" #i "\n\t"
#define RF_FMA_ZMM(i, A, B) "vfmadd231ps %%zmm" #A ", %%zmm" #B ", %%zmm" #i "\n\t"
#define RF_DOT_ZMM(i, A, B) "vdpbf16ps %%zmm" #A ", %%zmm" #B ", %%zmm" #i "\n\t"
#define RF_LOW_16 "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
                  "xmm12", "xmm13", "xmm14", "xmm15"

void fma_avx2(int64_t iterations) {
  asm volatile("vbroadcastss %[x], %%ymm12\n\t"
               "vbroadcastss %[y], %%ymm13\n\t"
               RF_EACH_12(RF_CLEAR_YMM, , )
               "1:\n\t"
               RF_EACH_12(RF_FMA_YMM, 12, 13)
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "vzeroupper"
               : [n] "+r"(iterations)
               : [x] "m"(kFactors[0]), [y] "m"(kFactors[1])
               : "cc", RF_LOW_16);
}

void fma_avx512(int64_t iterations) {
  asm volatile("vbroadcastss %[x], %%zmm16\n\t"
               "vbroadcastss %[y], %%zmm17\n\t"
               RF_EACH_16(RF_CLEAR_ZMM, , )
               "1:\n\t"
               RF_EACH_16(RF_FMA_ZMM, 16, 17)
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "vzeroupper"
               : [n] "+r"(iterations)
               : [x] "m"(kFactors[0]), [y] "m"(kFactors[1])
               : "cc", "xmm16", "xmm17", RF_LOW_16);
}

void dot_bf16(int64_t iterations) {
  asm volatile("vpbroadcastd %[x], %%zmm16\n\t"
               "vpbroadcastd %[y], %%zmm17\n\t"
               RF_EACH_16(RF_CLEAR_ZMM, , )
               "1:\n\t"
               RF_EACH_16(RF_DOT_ZMM, 16, 17)
               "dec %[n]\n\t"
               "jnz 1b\n\t"
               "vzeroupper"
               : [n] "+r"(iterations)
               : [x] "m"(kBf16Factors[0]), [y] "m"(kBf16Factors[1])
               : "cc", "xmm16", "xmm17", RF_LOW_16);
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

/// Linux hands the tile registers out on request, and may refuse.
bool may_use_tiles() {
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16")) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace

std::vector<PeakLoop> x86_loops() {
  std::vector<PeakLoop> loops;
  if (__builtin_cpu_supports("avx512f")) {
    loops.push_back({"fp32_fma", 2.0 * 16 * 16, fma_avx512});
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    loops.push_back({"fp32_fma", 2.0 * 12 * 8, fma_avx2});
  }
  if (__builtin_cpu_supports("avx512bf16")) loops.push_back({"vdpbf16ps", 2.0 * 16 * 32, dot_bf16});
  if (may_use_tiles()) loops.push_back({"tdpbf16ps", 4 * 2.0 * 16 * 16 * 32, dot_amx});
  return loops;
}

}  // namespace ringflash::bench
