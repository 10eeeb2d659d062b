// Weights under a mask, in passes that a compiler vectorises.
#pragma once

#include <cstdint>

#include "base/float16.h"

namespace ringflash {

/// kept[i] = weights[i] where mask[i] is set, else 0.
void copy_kept(const float* weights, const bool* mask, int64_t count, float* kept);

/// The largest |weights[i]| with mask[i] set, 0 if there is none; NaN counts as larger than all.
float largest_kept(const float* weights, const bool* mask, int64_t count);

/// out[i] = values[i], rounded to nearest even.
void round_to_bf16(const float* values, int64_t count, bf16* out);

}  // namespace ringflash
