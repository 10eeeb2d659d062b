#include "train/masks.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/ceil_div.h"
#include "base/check.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

/// Units are what stays or goes: single weights in groups of 64, or tiles in strips. A matrix [rows, per
/// group] of them stands for a weight [out, in]; units beyond its edge score below all others.
constexpr double kBeyond = -1;

Tensor pad(const Tensor& x, int64_t rows, int64_t columns, double value) {
  return torch::constant_pad_nd(x, {0, columns - x.size(1), 0, rows - x.size(0)}, value);
}

/// Squares [out, in] -> scores of the units.
Tensor unit_scores(const Tensor& squares, SparsePattern pattern) {
  const int64_t out = squares.size(0), in = squares.size(1);
  switch (pattern) {
    case SparsePattern::kFine: {
      const int64_t columns = round_up(in, kSparseGroup);
      return pad(squares, out, columns, kBeyond).reshape({-1, kSparseGroup});
    }
    case SparsePattern::kBlock: {
      const int64_t rows = round_up(out, kBlockRows), columns = round_up(in, kBlockColumns);
      return pad(squares, rows, columns, 0)
          .reshape({rows / kBlockRows, kBlockRows, columns / kBlockColumns, kBlockColumns})
          .sum(at::IntArrayRef{1, 3});
    }
    case SparsePattern::kNone:
      break;
  }
  RF_UNREACHABLE();
}

/// Kept units -> kept weights of a matrix [out, in].
Tensor spread_units(const Tensor& units, SparsePattern pattern, int64_t out, int64_t in) {
  switch (pattern) {
    case SparsePattern::kFine:
      return units.reshape({out, -1}).slice(1, 0, in).contiguous();
    case SparsePattern::kBlock:
      return units.repeat_interleave(kBlockRows, 0)
          .repeat_interleave(kBlockColumns, 1)
          .slice(0, 0, out)
          .slice(1, 0, in)
          .contiguous();
    case SparsePattern::kNone:
      break;
  }
  RF_UNREACHABLE();
}

/// The inverse: a unit is kept where its first weight is.
Tensor gather_units(const Tensor& mask, SparsePattern pattern) {
  return unit_scores(mask.to(torch::kFloat32), pattern).gt(0);
}

int64_t units_kept(const MaskShape& shape, int64_t in) {
  return shape.pattern == SparsePattern::kBlock ? kept_tiles(shape.keep, in) : shape.keep;
}

/// True for the `count` best of each row; of equals the earlier ones.
Tensor best(const Tensor& scores, int64_t count) {
  const Tensor order = std::get<1>(scores.sort(/*stable=*/true, /*dim=*/1, /*descending=*/true));
  return torch::zeros_like(scores, torch::kBool).scatter_(1, order.slice(1, 0, count), true);
}

Tensor best_units(const Tensor& scores, const MaskShape& shape, const Tensor& weight) {
  const Tensor kept = best(scores, units_kept(shape, weight.size(1)));
  return spread_units(kept, shape.pattern, weight.size(0), weight.size(1));
}

}  // namespace

Tensor best_mask(const Tensor& scores, const MaskShape& shape) {
  torch::NoGradGuard no_grad;
  return best_units(unit_scores(scores, shape.pattern), shape, scores);
}

Tensor magnitude_mask(const Tensor& weight, const MaskShape& shape) {
  return best_mask(weight.detach().square(), shape);
}

Tensor random_mask(const Tensor& weight, const MaskShape& shape, uint64_t seed) {
  torch::NoGradGuard no_grad;
  Tensor scores = unit_scores(torch::zeros_like(weight), shape.pattern);
  const Tensor drawn = torch::rand(scores.sizes(), at::detail::createCPUGenerator(seed)).to(scores.device());
  return best_units(torch::where(scores.ge(0), drawn, scores), shape, weight);
}

Tensor rigl_mask(const Tensor& weight, const Tensor& gradient, const Tensor& mask, const MaskShape& shape,
                 double fraction) {
  torch::NoGradGuard no_grad;
  constexpr double kNever = -std::numeric_limits<double>::infinity();
  const Tensor units = gather_units(mask, shape.pattern);
  const Tensor magnitudes = unit_scores(weight.square(), shape.pattern);
  const Tensor gradients = unit_scores(gradient.square(), shape.pattern);
  const int64_t kept = units_kept(shape, weight.size(1));
  const int64_t moved =
      std::min<int64_t>(std::llround(fraction * static_cast<double>(kept)), units.size(1) - kept);
  const Tensor stay = best(magnitudes.masked_fill(~units, kNever), kept - moved) & units;
  const Tensor grow = best(gradients.masked_fill(units, kNever), moved);
  // Where a group at the edge has nothing to grow, its own stay after all.
  const Tensor rank = units.to(torch::kFloat32) + stay + 2 * (grow & ~units);
  const Tensor chosen = best(rank.masked_fill(magnitudes.lt(0), kBeyond), kept);
  return spread_units(chosen, shape.pattern, weight.size(0), weight.size(1));
}

}  // namespace ringflash
