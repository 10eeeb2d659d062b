// A float buffer for kernel tests: off any alignment, poisoned with NaN, with canaries before and after.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "expect_close.h"

namespace ringflash::testing {

class GuardedBuffer {
 public:
  explicit GuardedBuffer(size_t size) : storage_(size + 2 * kMargin, kPoison) {
    std::fill_n(storage_.begin(), kMargin, kCanary);
    std::fill_n(storage_.end() - kMargin, kMargin, kCanary);
  }
  explicit GuardedBuffer(std::span<const float> values) : GuardedBuffer(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }

  float* data() { return storage_.data() + kMargin; }
  const float* data() const { return storage_.data() + kMargin; }
  size_t size() const { return storage_.size() - 2 * kMargin; }
  std::span<const float> values() const { return {data(), size()}; }
  void fill(float value) { std::fill_n(data(), size(), value); }

  bool intact() const {
    const auto is_canary = [](float x) { return x == kCanary; };
    return std::all_of(storage_.begin(), storage_.begin() + kMargin, is_canary) &&
           std::all_of(storage_.end() - kMargin, storage_.end(), is_canary);
  }

 private:
  static constexpr std::ptrdiff_t kMargin = 33;  // odd: vectors on a 64-byte boundary start 4 bytes past one
  static constexpr float kCanary = -12345.5f;
  std::vector<float> storage_;
};

}  // namespace ringflash::testing
