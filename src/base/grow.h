#pragma once

#include <cstddef>
#include <cstdint>

namespace ringflash {

/// Makes a buffer hold at least `size` elements; it never shrinks.
template <typename Buffer>
void grow(Buffer& buffer, int64_t size) {
  if (buffer.size() < static_cast<size_t>(size)) buffer.resize(static_cast<size_t>(size));
}

}  // namespace ringflash
