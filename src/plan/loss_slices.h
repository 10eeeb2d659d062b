// How many rows of logits a training step's loss works on at a time: what is planned for and what is done.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ringflash {

/// About 4 Mi numbers, 8 MB in bf16.
inline int64_t logits_slice_rows(int64_t vocab_size) { return std::max<int64_t>(1, (int64_t{4} << 20) / vocab_size); }

/// The same where they become gradients in place, in bf16 on the CPU: as many as half of the hidden size within 32 Mi numbers,
/// so that the head's gradient is not added to again and again for a few rows' sake.
inline int64_t fused_slice_rows(int64_t vocab_size, int64_t hidden_size) {
  return std::max(logits_slice_rows(vocab_size), std::min(hidden_size / 2, (int64_t{32} << 20) / vocab_size));
}

}  // namespace ringflash
