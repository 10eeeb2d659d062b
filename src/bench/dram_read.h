// How fast this machine reads memory, in the same run as what is compared with it.
#pragma once

#include <cstddef>
#include <span>

#include "base/executor.h"

namespace ringflash::bench {

/// Seconds in which all threads together read every byte of `memory` once.
double time_read(std::span<const std::byte> memory, Executor& executor);

}  // namespace ringflash::bench
