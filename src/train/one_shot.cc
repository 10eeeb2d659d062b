#include "train/one_shot.h"

#include <algorithm>

#include "base/in_quotes.h"
#include "format/quantize_sparse.h"
#include "train/ops/weight_view.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

/// Of the mean input energy: added to all, so that inputs that never occurred do no harm (SparseGPT's).
constexpr double kDamping = 0.01;

/// The scale of each row of one group's masked weights [out, 64], as the file's quantiser chooses it.
Tensor group_scales(const Tensor& group, const OneShotTarget& target, int base) {
  const SparseFormat format{.bits = target.bits == 4 ? SparseBits::k4 : SparseBits::k8,
                            .shape = {group.size(0), group.size(1), static_cast<int>(target.shape.keep)},
                            .base = base};
  const Tensor weights = group.contiguous();
  Tensor scales = torch::empty({group.size(0)});
  choose_scales(format, weights.data_ptr<float>(), {0, format.shape.row_blocks()}, scales.data_ptr<float>()).value();
  return scales;
}

/// The nearest value that `bits` and the scale hold.
Tensor round_to(const Tensor& column, const Tensor& scales, int64_t bits) {
  const double low = bits == 4 ? -8 : -127, high = bits == 4 ? 7 : 127;
  return (column / scales).round().clamp(low, high).nan_to_num(0) * scales;
}

/// In double, as what follows takes an inverse.
Tensor damped(const Tensor& gram) {
  Tensor matrix = gram.to(torch::kFloat64).clone();
  const double mean = std::max(matrix.diagonal().mean().item<double>(), 1e-30);
  matrix.diagonal().add_(kDamping * mean);
  return matrix;
}

/// The upper Cholesky factor of the inverse of the damped gram matrix.
Tensor inverse_factor(const Tensor& gram) {
  const Tensor inverse = torch::cholesky_inverse(torch::linalg_cholesky(damped(gram)));
  return torch::linalg_cholesky(inverse).t().contiguous().to(torch::kFloat32);
}

/// The columns group after group, the groups, and the columns of each, with the most energy first, so that all others can still
/// make up for what these lose (GPTQ's act-order, as far as the format's groups allow). A short last group stays last.
Tensor column_order(const Tensor& gram) {
  const Tensor energy = gram.diagonal();
  const int64_t whole = energy.size(0) / kSparseGroup * kSparseGroup;
  const Tensor groups = energy.slice(0, 0, whole).reshape({-1, kSparseGroup});
  const Tensor inside = groups.argsort(/*stable=*/true, /*dim=*/1, /*descending=*/true);
  const Tensor by_energy = groups.sum(1).argsort(/*stable=*/true, /*dim=*/0, /*descending=*/true);
  const Tensor columns = (inside + torch::arange(groups.size(0)).unsqueeze(1) * kSparseGroup).index_select(0, by_energy);
  return torch::cat({columns.flatten(), torch::arange(whole, energy.size(0))});
}

/// Optimal brain surgeon, column after column (SparseGPT, algorithm 1): what a column loses is made up for by
/// the columns after it. Masks of the fine pattern are chosen a group at a time, when all that comes before
/// is known.
Tensor compress_by_obs(const Tensor& weight, const Tensor& gram, const OneShotTarget& target) {
  const Tensor order = column_order(gram);
  Tensor w = weight.detach().index_select(1, order);
  Tensor result = torch::zeros_like(w);
  const Tensor factor = inverse_factor(gram.index_select(0, order).index_select(1, order));
  const int base = target.bits == 4 ? s4_base_exponent(w.abs().max().item<float>()) : 0;
  const Tensor block_mask =
      target.shape.pattern == SparsePattern::kBlock
          ? best_mask(weight.detach().square() * gram.diagonal(), target.shape).index_select(1, order)
          : Tensor();
  for (int64_t begin = 0; begin < w.size(1); begin += kSparseGroup) {
    const int64_t end = std::min(begin + kSparseGroup, w.size(1));
    const Tensor group = w.slice(1, begin, end), pivots = factor.diagonal().slice(0, begin, end);
    const Tensor mask = block_mask.defined() ? block_mask.slice(1, begin, end)
                                             : best_mask((group / pivots).square(), target.shape);
    const Tensor scales = target.bits < 16 ? group_scales(group * mask, target, base) : Tensor();
    Tensor errors = torch::empty_like(group);
    for (int64_t column = begin; column < end; ++column) {
      const Tensor before = w.select(1, column);
      const Tensor kept = scales.defined() ? round_to(before, scales, target.bits) : before;
      const Tensor after = kept * mask.select(1, column - begin);
      result.select(1, column).copy_(after);
      const Tensor error = (before - after) / factor[column][column];
      errors.select(1, column - begin).copy_(error);
      w.slice(1, column, end).sub_(torch::outer(error, factor[column].slice(0, column, end)));
    }
    w.slice(1, end).sub_(torch::matmul(errors, factor.slice(0, begin, end).slice(1, end)));
  }
  return torch::empty_like(result).index_copy_(1, order, result);
}

Tensor keep_best(const Tensor& weight, const Tensor& gram, const MaskShape& shape, OneShotMethod method) {
  const Tensor squares = weight.square();
  return weight * best_mask(method == OneShotMethod::kWanda ? squares * gram.diagonal() : squares, shape);
}

}  // namespace

std::string to_string(OneShotMethod method) {
  switch (method) {
    case OneShotMethod::kMagnitude:
      return "magnitude";
    case OneShotMethod::kWanda:
      return "wanda";
    case OneShotMethod::kObs:
      return "obs";
  }
  RF_UNREACHABLE();
}

Result<OneShotMethod> parse_one_shot_method(const std::string& text) {
  for (const OneShotMethod method : {OneShotMethod::kMagnitude, OneShotMethod::kWanda, OneShotMethod::kObs}) {
    if (text == to_string(method)) return method;
  }
  return Error{"the method must be magnitude, wanda or obs, found " + in_quotes(text)};
}

Tensor compress_matrix(const Tensor& weight, const Tensor& gram, const OneShotTarget& target,
                       OneShotMethod method) {
  torch::NoGradGuard no_grad;
  RF_CHECK(target.bits == 16 ||
           (target.shape.pattern == SparsePattern::kFine && weight.size(1) % kSparseGroup == 0));
  const Tensor left = method == OneShotMethod::kObs ? compress_by_obs(weight, gram, target)
                                                    : keep_best(weight.detach(), gram, target.shape, method);
  // Of what obs has rounded already this changes S8 alone, whose scale follows the largest weight closely.
  return target.bits == 16 ? left : quantized_weight(left, target.bits, target.shape.keep);
}

Tensor made_up_for_drift(const Tensor& weight, const Tensor& gram, const Tensor& drift, double strength) {
  torch::NoGradGuard no_grad;
  if (strength == 0) return weight;
  const Tensor lost = torch::matmul(weight.to(torch::kFloat64), drift.to(torch::kFloat64));
  const Tensor found = torch::cholesky_solve(lost.t(), torch::linalg_cholesky(damped(gram))).t();
  return weight + (strength * found).to(weight.scalar_type());
}

}  // namespace ringflash
