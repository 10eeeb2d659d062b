// The only place that asks the processor what it can do, and the only reader of RINGFLASH_ISA.
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "kernels/kernels.h"
#include "kernels/ref/ref.h"

namespace ringflash::kernels {

#if defined(RINGFLASH_SIMD_X86)
namespace avx512 {
extern const Table kTable;
}
namespace avx2 {
extern const Table kTable;
}
#elif defined(RINGFLASH_SIMD_NEON)
namespace neon {
extern const Table kTable;
}
#endif

std::vector<const Table*> available_tables() {
  std::vector<const Table*> tables = {&ref::kTable};
#if defined(RINGFLASH_SIMD_X86)
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (has_avx2) tables.push_back(&avx2::kTable);
  if (has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    tables.push_back(&avx512::kTable);
  }
#elif defined(RINGFLASH_SIMD_NEON)
  tables.push_back(&neon::kTable);
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

}  // namespace ringflash::kernels
