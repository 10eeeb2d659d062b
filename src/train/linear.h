// What layers are made of: matrices and norms.
#pragma once

#include <torch/nn.h>

#include <functional>
#include <memory>
#include <vector>

#include "train/ops/norm.h"
#include "train/ops/weight_view.h"

namespace ringflash {

using Again = std::function<torch::Tensor()>;

struct LinearShape {
  int64_t in, out;
  bool bias = false;
  bool borrows = false;  ///< the weight is another's, which borrow() names
  int64_t rank = 0;      ///< of a pair that it has besides; 0 for none
};

/// A weight matrix [out, in], and a bias [out] where wanted, whose product runs in a lower precision than the weight is kept in,
/// and which may multiply with less than it keeps: masked and quantised (DESIGN section 5). Where layers share the
/// weight W (DESIGN section 6), one has it as its parameter, the others borrow it, and each multiplies with W + A B.
class LinearImpl : public torch::nn::Module {
 public:
  explicit LinearImpl(const LinearShape& shape);
  /// x [T, in] in the compute precision -> [T, out] in x's. Where `again` gives x once more, x is not kept.
  torch::Tensor forward(const torch::Tensor& x, const Again& again = {});
  torch::Tensor weight;
  torch::Tensor bias;              ///< empty for none
  torch::Tensor delta_a, delta_b;  ///< [out, rank] and [rank, in]; empty for none

  /// Multiplies with the owner's weight, as the owner's view shows it.
  void borrow(const LinearImpl& owner);
  bool borrows() const { return borrows_; }

  /// Whether x of this type may come packed (ops/block_linear.h), which spares layers in a row the packing.
  bool takes_packed(torch::ScalarType type) const { return view().tiles && type == packed_type() && !observer && !bias.defined() && !delta_a.defined(); }
  /// How often backward calls `again` for x of this type.
  int times_asking(torch::ScalarType type) const;
  /// Packed x -> packed.
  torch::Tensor forward_packed(const torch::Tensor& x);
  /// Packed x of so many tokens -> rows.
  torch::Tensor forward_unpacked(const torch::Tensor& x, int64_t tokens);

  /// What forward multiplies with. Not parameters: whoever trains sets them (sparsifier.h).
  WeightView& view() const { return *view_; }

  /// Called with each x, where set: for calibration.
  std::function<void(const torch::Tensor&)> observer;

 private:
  torch::Tensor add_delta(const torch::Tensor& product, const torch::Tensor& x, const Again& again) const;

  bool borrows_;
  std::shared_ptr<WeightView> view_ = std::make_shared<WeightView>();
};
TORCH_MODULE(Linear);

/// All that a part of a model multiplies with: its parameters and the weights that it borrows.
std::vector<torch::Tensor> used_parameters(const torch::nn::Module& part);

class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t width, double epsilon);
  /// x [..., width] fp32 -> fp32.
  torch::Tensor forward(const torch::Tensor& x);
  /// x [T, width] fp32 for products in `compute`, and for a router's weight, if there is one.
  Normed for_products(const torch::Tensor& x, torch::ScalarType compute, const torch::Tensor& router);
  torch::Tensor weight;

 private:
  double epsilon_;
};
TORCH_MODULE(RmsNorm);

}  // namespace ringflash
