#include "base/page_pool.h"

#include <sys/mman.h>

#include <algorithm>

#include "base/check.h"

namespace ringflash {
namespace {

constexpr size_t kNowhere = static_cast<size_t>(-1);

/// Where the first `count` neighbours for which `fits` holds begin.
template <typename States, typename Fits>
size_t first_run(const States& states, size_t count, Fits fits) {
  size_t length = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    length = fits(states[i]) ? length + 1 : 0;
    if (length == count) return i + 1 - count;
  }
  return kNowhere;
}

}  // namespace

std::unique_ptr<PagePool> PagePool::reserve(size_t bytes) {
  const size_t granules = bytes / kGranule;
  void* base = ::mmap(nullptr, granules * kGranule, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (granules == 0 || base == MAP_FAILED) return nullptr;
  return std::unique_ptr<PagePool>(new PagePool(static_cast<std::byte*>(base), granules));
}

PagePool::~PagePool() {
  ::munmap(base_, reserved_ * kGranule);
}

size_t PagePool::find_idle(size_t count) const {
  return first_run(states_, count, [](State state) { return state == State::kIdle; });
}

/// Lowest addresses first: what lives long ends up together.
size_t PagePool::find_free(size_t count) const {
  const size_t found = first_run(states_, count, [](State state) { return state != State::kUsed; });
  if (found != kNowhere) return found;
  size_t begin = states_.size();
  while (begin > 0 && states_[begin - 1] != State::kUsed) --begin;
  return begin + count <= reserved_ ? begin : kNowhere;
}

void PagePool::release(size_t begin, size_t end) {
  RF_CHECK(::madvise(base_ + begin * kGranule, (end - begin) * kGranule, MADV_DONTNEED) == 0);
  std::fill(states_.begin() + static_cast<ptrdiff_t>(begin), states_.begin() + static_cast<ptrdiff_t>(end), State::kFresh);
  idle_ -= end - begin;
}

/// From the highest addresses down, which are asked for last.
void PagePool::release_idle(size_t count, size_t except_begin, size_t except_end) {
  for (size_t end = states_.size(); end > 0 && count > 0;) {
    if (end > except_begin && end <= except_end) {
      end = except_begin;
      continue;
    }
    if (states_[end - 1] != State::kIdle) {
      --end;
      continue;
    }
    size_t begin = end - 1;
    const size_t limit = end > except_end ? except_end : 0;
    while (begin > limit && end - begin < count && states_[begin - 1] == State::kIdle) --begin;
    release(begin, end);
    count -= end - begin;
    end = begin;
  }
}

void* PagePool::take(size_t bytes) {
  RF_CHECK(bytes > 0);
  if (bytes > reserved_ * kGranule) return nullptr;
  const size_t count = (bytes + kGranule - 1) / kGranule;
  const std::lock_guard lock(mutex_);
  size_t begin = find_idle(count);
  if (begin == kNowhere) {
    begin = find_free(count);
    if (begin == kNowhere) return nullptr;
    if (states_.size() < begin + count) {
      states_.resize(begin + count, State::kFresh);
      sizes_.resize(begin + count, 0);
    }
    const auto first = states_.begin() + static_cast<ptrdiff_t>(begin);
    const auto fresh = std::count(first, first + static_cast<ptrdiff_t>(count), State::kFresh);
    release_idle(static_cast<size_t>(fresh), begin, begin + count);
  }
  for (size_t i = begin; i < begin + count; ++i) {
    if (states_[i] == State::kIdle) --idle_;
    states_[i] = State::kUsed;
  }
  used_ += count;
  sizes_[begin] = static_cast<uint32_t>(count);
  return base_ + begin * kGranule;
}

void PagePool::give_back(void* block) {
  const std::lock_guard lock(mutex_);
  const size_t begin = static_cast<size_t>(static_cast<std::byte*>(block) - base_) / kGranule;
  RF_CHECK(owns(block) && begin < sizes_.size() && sizes_[begin] > 0);
  const size_t count = sizes_[begin];
  std::fill_n(states_.begin() + static_cast<ptrdiff_t>(begin), count, State::kIdle);
  sizes_[begin] = 0;
  used_ -= count;
  idle_ += count;
}

bool PagePool::owns(const void* address) const {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= base_ && byte < base_ + reserved_ * kGranule;
}

size_t PagePool::used() const {
  const std::lock_guard lock(mutex_);
  return used_ * kGranule;
}

size_t PagePool::resident() const {
  const std::lock_guard lock(mutex_);
  return (used_ + idle_) * kGranule;
}

}  // namespace ringflash
