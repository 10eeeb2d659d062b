// Memory for big buffers that are taken and given back all the time, in other orders and sizes each time: a training
// step's activations. malloc's heap never shrinks and is soon full of holes that nothing fits; asking the system each
// time costs a page fault for every 4 KiB. Here pages stay for the next buffer, and where only fresh ones will do as
// many idle ones go back to the system first: what is resident stays near the most that was ever used at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace ringflash {

class PagePool {
 public:
  /// Sizes are rounded up to this.
  static constexpr size_t kGranule = size_t{256} << 10;

  /// Reserves addresses for `bytes`, but no memory; null where the system refuses.
  static std::unique_ptr<PagePool> reserve(size_t bytes);
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool();

  /// `bytes` > 0 of any contents, aligned to a page; null where the reserved addresses do not suffice. Any thread may call
  /// these.
  void* take(size_t bytes);
  /// A block that take() returned.
  void give_back(void* block);

  bool owns(const void* address) const;
  size_t used() const;      ///< bytes of the blocks that are taken
  size_t resident() const;  ///< bytes of pages that are held, used or idle

 private:
  enum class State : uint8_t { kFresh, kIdle, kUsed };

  PagePool(std::byte* base, size_t granules) : base_(base), reserved_(granules) {}

  size_t find_idle(size_t count) const;
  size_t find_free(size_t count) const;
  void release_idle(size_t count, size_t except_begin, size_t except_end);
  void release(size_t begin, size_t end);

  std::byte* base_;
  size_t reserved_;  ///< granules
  mutable std::mutex mutex_;
  std::vector<State> states_;    ///< of the granules that were ever looked at; those behind are fresh
  std::vector<uint32_t> sizes_;  ///< granules of the block that begins here
  size_t used_ = 0, idle_ = 0;   ///< granules
};

}  // namespace ringflash
