// What `ringflash bench train` times. No libtorch in this header.
#pragma once

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "model/config.h"

namespace ringflash {

/// Runs once and returns the seconds it took.
using BenchCase = std::function<double()>;

/// Forward and backward of one block-sparse layer of a random pattern that keeps `keep` of 64 weights, from x and dy
/// [tokens, ...] to y and dx [tokens, ...] and the gradient at the active tiles [out, in]: packing of all of these and
/// of the weight included. An error where the results are not those of a product in double.
Result<BenchCase> block_linear_case(int64_t in, int64_t out, int64_t tokens, int64_t keep, int threads);

/// A step of training on one sequence of random tokens: forward, backward, clipping and AdamW. With the block pattern
/// the masks are drawn at random, and it is an error if skipping tiles changes the loss.
Result<BenchCase> training_step_case(const ModelConfig& config, int64_t tokens, int threads);

}  // namespace ringflash
