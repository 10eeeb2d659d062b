#include "format/quantize_q4_1.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"

namespace ringflash {
namespace {

constexpr int64_t kWeights = BlockQ4_1::kWeights, kHalf = kWeights / 2;
constexpr int kMost = 15;  // the largest n
constexpr int kFits = 4;

// How far from a multiple of a step a weight may be that is one: more than rounding to fp32 leaves, while 32 weights that
// are none are never all so near.
constexpr float kSlack = 0.01f;

using Weights = std::span<const float>;

/// Values d n + m.
struct Grid {
  float scale, minimum;

  float nearest(float weight) const {
    return scale != 0 ? std::clamp(std::nearbyint((weight - minimum) / scale), 0.0f, static_cast<float>(kMost)) : 0.0f;
  }
  Grid rounded() const { return {to_float(to_fp16(scale)), to_float(to_fp16(minimum))}; }
};

double squared_error(const Grid& grid, Weights weights) {
  double sum = 0;
  for (const float w : weights) {
    const double error = double{w} - (double{grid.scale} * double{grid.nearest(w)} + double{grid.minimum});
    sum += error * error;
  }
  return sum;
}

bool are_multiples(Weights weights, float low, float step) {
  return std::ranges::all_of(weights, [&](float w) {
    const float steps = (w - low) / step;
    return std::abs(steps - std::nearbyint(steps)) <= kSlack;
  });
}

/// The widest grid that has all the weights, if one has. Where it is wider than they are, the minimum may lie lower: what
/// fits fp16 best is what was stored.
std::optional<Grid> grid_of(Weights weights, float low, float high) {
  for (int steps = 1; steps <= kMost; ++steps) {
    const float step = (high - low) / static_cast<float>(steps);
    if (!are_multiples(weights, low, step)) continue;
    const float scale = to_float(to_fp16(step));
    Grid best{scale, low};
    float least = INFINITY;
    for (int below = 0; below <= kMost - steps; ++below) {
      const float minimum = low - static_cast<float>(below) * step;
      const float error = std::abs(to_float(to_fp16(minimum)) + static_cast<float>(below) * scale - low);
      if (error < least) best.minimum = minimum, least = error;
    }
    return best;
  }
  return std::nullopt;
}

/// The grid with the least squared error for the n that this one gives the weights; itself if they are all the same.
Grid refit(const Grid& grid, Weights weights) {
  double n_sum = 0, n_squares = 0, w_sum = 0, products = 0;
  for (const float w : weights) {
    const double n = double{grid.nearest(w)};
    n_sum += n;
    n_squares += n * n;
    w_sum += double{w};
    products += n * double{w};
  }
  const double variance = n_squares - n_sum * n_sum / kWeights;
  if (variance <= 0) return grid;
  const double scale = (products - n_sum * w_sum / kWeights) / variance;
  return {static_cast<float>(scale), static_cast<float>((w_sum - scale * n_sum) / kWeights)};
}

Grid fit(Weights weights, float low, float high) {
  Grid grid{(high - low) / kMost, low}, best = grid.rounded();
  double least = squared_error(best, weights);
  for (int i = 0; i < kFits; ++i) {
    grid = refit(grid, weights);
    const double error = squared_error(grid.rounded(), weights);
    if (error < least) best = grid.rounded(), least = error;
  }
  return best;
}

BlockQ4_1 quantize_block(Weights weights) {
  const auto [low, high] = std::ranges::minmax(weights);
  RF_CHECK(low >= -kMaxQ4_1 && high <= kMaxQ4_1);
  const std::optional<Grid> found = low < high ? grid_of(weights, low, high) : Grid{0, low};
  const Grid grid = found ? found->rounded() : fit(weights, low, high);
  BlockQ4_1 block{to_fp16(grid.scale), to_fp16(grid.minimum), {}};
  for (int64_t i = 0; i < kHalf; ++i) {
    const int first = static_cast<int>(grid.nearest(weights[i])), second = static_cast<int>(grid.nearest(weights[i + kHalf]));
    block.values[i] = static_cast<uint8_t>(first | second << 4);
  }
  return block;
}

}  // namespace

void quantize_q4_1(std::span<const float> weights, std::span<BlockQ4_1> blocks) {
  RF_CHECK(weights.size() == blocks.size() * kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) blocks[b] = quantize_block(weights.subspan(b * kWeights, kWeights));
}

void dequantize_q4_1(std::span<const BlockQ4_1> blocks, std::span<float> weights) {
  RF_CHECK(weights.size() == blocks.size() * kWeights);
  for (size_t b = 0; b < blocks.size(); ++b) {
    const float d = to_float(blocks[b].scale), m = to_float(blocks[b].minimum);
    float* block = weights.data() + b * kWeights;
    for (int64_t i = 0; i < kHalf; ++i) {
      block[i] = d * static_cast<float>(blocks[b].values[i] & 15) + m;
      block[i + kHalf] = d * static_cast<float>(blocks[b].values[i] >> 4) + m;
    }
  }
}

}  // namespace ringflash
