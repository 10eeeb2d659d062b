// A layer's attention over its cache.
#pragma once

#include <vector>

#include "runtime/layers.h"

namespace ringflash {

/// work.attended = what the queries in work.q see, after the piece's keys, values and router scores, in work.k, v and
/// router, were put into `cache`, which has one entry per KV head.
void attend(TokenRun piece, const LayerWeights& weights, std::vector<HeadCache>& cache, Workspace& work);

}  // namespace ringflash
