#pragma once

#include <cstddef>
#include <cstdint>

namespace ringflash {

/// Makes a buffer hold at least `size` elements; it never shrinks. What it held is gone when it grows, so that old and new
/// never take memory together.
template <typename Buffer>
void grow(Buffer& buffer, int64_t size) {
  if (buffer.size() >= static_cast<size_t>(size)) return;
  buffer = Buffer();
  buffer.resize(static_cast<size_t>(size));
}

}  // namespace ringflash
