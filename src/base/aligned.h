// A buffer aligned for SIMD and cache lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

namespace ringflash {

template <typename T>
struct CacheAligned {
  using value_type = T;
  CacheAligned() = default;
  template <typename U>
  CacheAligned(const CacheAligned<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t{64}); }
  template <typename U>
  bool operator==(const CacheAligned<U>&) const { return true; }
};

/// std::vector on 64-byte boundaries.
template <typename T>
using AlignedVector = std::vector<T, CacheAligned<T>>;

struct CacheAlignedDelete {
  void operator()(void* memory) const { ::operator delete(memory, std::align_val_t{64}); }
};

/// Room for `n` values, written before they are read; null for none.
template <typename T>
std::unique_ptr<T[], CacheAlignedDelete> make_aligned_for_overwrite(size_t n) {
  static_assert(std::is_trivially_destructible_v<T>);
  if (n == 0) return nullptr;
  return std::unique_ptr<T[], CacheAlignedDelete>(static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{64})));
}

}  // namespace ringflash
