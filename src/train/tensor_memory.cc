#include "train/tensor_memory.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <malloc.h>
#include <torch/version.h>
#include <unistd.h>

#include <cstring>
#include <new>

#include "base/page_pool.h"

namespace ringflash {
namespace {

constexpr size_t kLeastPooled = size_t{1} << 20;

PagePool* pool = nullptr;  ///< lives as long as the process: tensors may outlive everything else

void* take(size_t bytes) {
  if (bytes >= kLeastPooled) {
    void* block = pool->take(bytes);
    if (block == nullptr) throw std::bad_alloc();
    return block;
  }
  return c10::alloc_cpu(bytes);
}

void give_back(void* block) {
  pool->owns(block) ? pool->give_back(block) : c10::free_cpu(block);
}

class PooledAllocator final : public c10::Allocator {
 public:
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  c10::DataPtr allocate(size_t bytes) override { return block(bytes); }
  void copy_data(void* target, const void* source, size_t bytes) const override { std::memcpy(target, source, bytes); }
#else
  c10::DataPtr allocate(size_t bytes) const override { return block(bytes); }
#endif
  c10::DeleterFnPtr raw_deleter() const override { return give_back; }

 private:
  static c10::DataPtr block(size_t bytes) {
    void* data = bytes > 0 ? take(bytes) : nullptr;
    return {data, data, give_back, c10::Device(c10::DeviceType::CPU)};
  }
};

}  // namespace

void pool_tensor_memory() {
#if !defined(__SANITIZE_ADDRESS__)
  const auto memory = static_cast<size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  pool = PagePool::reserve(4 * memory).release();
  if (pool == nullptr) return;
  static PooledAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/1);
#endif
}

int64_t allocated_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd + (pool != nullptr ? pool->used() : 0));
}

}  // namespace ringflash
