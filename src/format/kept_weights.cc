#include "format/kept_weights.h"

#include <algorithm>
#include <bit>

#include "base/wider_copies.h"

namespace ringflash {

RF_WIDER_COPIES void copy_kept(const float* weights, const bool* mask, int64_t count, float* kept) {
  for (int64_t i = 0; i < count; ++i) kept[i] = mask[i] ? weights[i] : 0.0f;
}

RF_WIDER_COPIES float largest_kept(const float* weights, const bool* mask, int64_t count) {
  int32_t largest = 0;  // the bits of magnitudes are in their order
  for (int64_t i = 0; i < count; ++i) {
    const int32_t magnitude = std::bit_cast<int32_t>(weights[i]) & 0x7fffffff;
    largest = std::max(largest, mask[i] ? magnitude : 0);
  }
  return std::bit_cast<float>(largest);
}

RF_WIDER_COPIES void round_to_bf16(const float* values, int64_t count, bf16* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = to_bf16(values[i]);
}

}  // namespace ringflash
