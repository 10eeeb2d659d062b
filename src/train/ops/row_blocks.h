// Splitting rows and elements over libtorch's threads so that results do not depend on how many there are.
#pragma once

#include <algorithm>

#include "base/ceil_div.h"
#include "base/float16.h"
#include "train/ops/torch_executor.h"
#include "train/torch_headers.h"

namespace ringflash {

inline constexpr int64_t kRowBlock = 64;            ///< rows of one task
inline constexpr int64_t kElementBlock = 1 << 15;   ///< numbers of one task

inline bf16* bf16_data(const torch::Tensor& t) { return reinterpret_cast<bf16*>(t.data_ptr<at::BFloat16>()); }

/// Calls body(block, begin, end) for blocks of [0, count).
template <typename Body>
void for_blocks(int64_t count, int64_t block, Body body) {
  TorchExecutor executor;
  executor.for_each(ceil_div(count, block), [&](int64_t b) { body(b, b * block, std::min(count, (b + 1) * block)); });
}

}  // namespace ringflash
