// The only place that asks the processor what it can do, and the only reader of RINGFLASH_ISA.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__linux__) && defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

namespace ringflash::kernels {

#if defined(RINGFLASH_SIMD_X86)
namespace avx512 {
extern const Table kTable;
}
namespace avx2 {
extern const Table kTable;
void add_int8(Table& table);
}
namespace avx512vnni {
void add_int8(Table& table);
}
namespace avx512bf16 {
Table with_bf16(const Table& base);
}
namespace amx {
Table with_bf16(const Table& base);
}
#elif defined(RINGFLASH_SIMD_NEON)
namespace neon {
extern const Table kTable;
void add_int8(Table& table);
}
namespace neondot {
void add_int8(Table& table);
}
#endif

namespace {

#if defined(__x86_64__)
/// What products in 8 bits are built with where vectors have 64 bytes.
bool has_avx512_bytes() {
  return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") &&
         __builtin_cpu_supports("avx512vbmi2");
}

#endif

#if defined(RINGFLASH_SIMD_X86)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/// A table and the products in 8 bits that this machine can run beside it.
Table with_int8(Table table, bool wide) {
  const bool vnni = has_avx512_bytes();
  if (wide && vnni) {
    avx512vnni::add_int8(table);
  } else {
    avx2::add_int8(table);
  }
  return table;
}

/// The AVX-512 tables, best last.
void add_avx512_tables(std::vector<const Table*>& tables) {
  static const Table fp32 = with_int8(avx512::kTable, /*wide=*/true);
  if (!__builtin_cpu_supports("avx512bf16")) return tables.push_back(&fp32);
  static const Table bf16 = avx512bf16::with_bf16(fp32);
  // vdpbf16ps runs at twice fp32's rate on AMD's processors, but at half of it on Intel's.
  if (__builtin_cpu_is("intel")) {
    tables.insert(tables.end(), {&bf16, &fp32});
  } else {
    tables.insert(tables.end(), {&fp32, &bf16});
  }
  static const bool amx_allowed = may_use_amx();
  static const Table amx = amx::with_bf16(fp32);
  if (amx_allowed) tables.push_back(&amx);
}
#elif defined(RINGFLASH_SIMD_NEON)
bool has_dotprod() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
  return false;
#endif
}

Table with_int8(Table table) {
  if (has_dotprod()) {
    neondot::add_int8(table);
  } else {
    neon::add_int8(table);
  }
  return table;
}
#endif

}  // namespace

std::vector<const Table*> available_tables() {
  std::vector<const Table*> tables = {&ref::kTable};
#if defined(RINGFLASH_SIMD_X86)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return tables;
  static const Table avx2 = with_int8(avx2::kTable, /*wide=*/false);
  tables.push_back(&avx2);
  if (has_avx512()) add_avx512_tables(tables);
#elif defined(RINGFLASH_SIMD_NEON)
  static const Table neon = with_int8(neon::kTable);
  tables.push_back(&neon);
#endif
  return tables;
}

namespace {

const Table& choose() {
  const std::vector<const Table*> tables = available_tables();
  const char* wanted = std::getenv("RINGFLASH_ISA");
  if (wanted == nullptr || *wanted == '\0') return *tables.back();
  std::string names;
  for (const Table* candidate : tables) {
    if (std::string_view(wanted) == candidate->isa) return *candidate;
    names += std::string(names.empty() ? "" : ", ") + candidate->isa;
  }
  std::fprintf(stderr, "ringflash: RINGFLASH_ISA must be one of %s on this machine, found '%s'\n", names.c_str(),
               wanted);
  std::exit(2);
}

}  // namespace

const Table& table() {
  static const Table& chosen = choose();
  return chosen;
}

bool has_fast_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool may_use_amx() {
#if defined(__linux__) && defined(__x86_64__)
  if (!__builtin_cpu_supports("amx-tile") || !__builtin_cpu_supports("amx-bf16")) return false;
  // Every processor with tiles has these, and their table is built with them.
  if (!has_avx512_bytes()) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

float logit_scale(int64_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

}  // namespace ringflash::kernels
