// The whole model in plain double loops over all positions at once, from DESIGN's set definitions: no cache,
// no chunks to cut at, no kernels. The oracle of the session tests.
#pragma once

#include <vector>

#include "support/tiny_model.h"

namespace ringflash::testing {

/// Logits [ids.size(), vocab_size].
std::vector<double> naive_logits(const ModelConfig& config, const TinyWeights& weights,
                                 const std::vector<int32_t>& ids);

}  // namespace ringflash::testing
