// Broken invariants abort with the place; outside input never reaches them (see result.h for that).
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ringflash::detail {
[[noreturn]] inline void check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "ringflash: internal error at %s:%d: %s does not hold\n", file, line, condition);
  std::abort();
}
}  // namespace ringflash::detail

/// Aborts unless `condition` holds, in every build type.
#define RF_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::ringflash::detail::check_failed(__FILE__, __LINE__, #condition))

/// For the end of a switch over an enum and other places that cannot be reached.
#define RF_UNREACHABLE() ::ringflash::detail::check_failed(__FILE__, __LINE__, "this place is unreachable")
