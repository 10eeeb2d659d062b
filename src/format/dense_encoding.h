// Weights in the types that dense tensors are exported in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "format/gguf.h"

namespace ringflash {

/// Refuses what the type cannot hold: F32, BF16, Q8_0, Q4_0, Q4_1 or Q5_0. The error names the element.
Status check_weights(std::span<const float> weights, GgufType type);

/// What check_weights() takes, as the type stores it; whole blocks.
std::vector<std::byte> encode(std::span<const float> weights, GgufType type);

/// Whether the type gives back rows of `columns` weights, but for the rounding of its blocks' scales to fp16. Most weights
/// that it does not hold are known by their first row.
bool holds(GgufType type, std::span<const float> weights, int64_t columns);

}  // namespace ringflash
