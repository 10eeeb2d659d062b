// Where libtorch keeps big CPU tensors: in a PagePool (base/page_pool.h) instead of malloc's heap.
#pragma once

#include <cstdint>

namespace ringflash {

/// From now on CPU tensors of a megabyte and more come from a pool. Call before any tensor is made, once. Does nothing
/// where the system has no addresses to spare, or under AddressSanitizer, which watches malloc.
void pool_tensor_memory();

/// Bytes that the process has allocated and not freed, tensors included.
int64_t allocated_bytes();

}  // namespace ringflash
