#include "train/linear.h"

#include "train/ops/recompute.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;

LinearImpl::LinearImpl(const LinearShape& shape) : borrows_(shape.borrows) {
  if (!borrows_) weight = register_parameter("weight", torch::empty({shape.out, shape.in}));
  if (shape.bias) bias = register_parameter("bias", torch::zeros({shape.out}));
  if (shape.rank == 0) return;
  delta_a = register_parameter("delta_a", torch::empty({shape.out, shape.rank}));
  delta_b = register_parameter("delta_b", torch::empty({shape.rank, shape.in}));
}

void LinearImpl::borrow(const LinearImpl& owner) {
  RF_CHECK(borrows_ && !owner.borrows_);
  weight = owner.weight;
  view_ = owner.view_;
}

std::vector<Tensor> used_parameters(const torch::nn::Module& part) {
  std::vector<Tensor> all = part.parameters();
  for (const auto& module : part.modules()) {
    const auto* linear = module->as<LinearImpl>();
    if (linear != nullptr && linear->borrows()) all.push_back(linear->weight);
  }
  return all;
}

int LinearImpl::times_asking(torch::ScalarType type) const {
  const bool packs = view().tiles && type == packed_type();
  return (packs ? 0 : 1) + (delta_a.defined() ? 1 : 0);
}

Tensor LinearImpl::forward(const Tensor& x, const Again& again) {
  if (observer) observer(x);
  Tensor product;
  if (view().tiles && x.scalar_type() == packed_type()) {
    product = block_linear(x, weight, view().tiles, view().tile_gradient);
  } else {
    const Tensor seen = seen_weight(weight, view(), x.scalar_type());
    product = again ? forgetful_linear(x, seen, again) : torch::linear(x, seen);
  }
  if (delta_a.defined()) product = add_delta(product, x, again);
  return bias.defined() ? product + bias.to(product.scalar_type()) : product;
}

/// product + (x B^T) A^T.
Tensor LinearImpl::add_delta(const Tensor& product, const Tensor& x, const Again& again) const {
  const Tensor a = delta_a.to(x.scalar_type()), b = delta_b.to(x.scalar_type());
  const Tensor inner = again ? forgetful_linear(x, b, again) : torch::linear(x, b);
  return torch::addmm(product, inner, a.t());
}

Tensor LinearImpl::forward_packed(const Tensor& x) {
  return block_linear_packed(x, weight, view().tiles, view().tile_gradient);
}

Tensor LinearImpl::forward_unpacked(const Tensor& x, int64_t tokens) {
  return block_linear_unpacked(x, tokens, weight, view().tiles, view().tile_gradient);
}

RmsNormImpl::RmsNormImpl(int64_t width, double epsilon)
    : weight(register_parameter("weight", torch::ones({width}))), epsilon_(epsilon) {}

Tensor RmsNormImpl::forward(const Tensor& x) {
  return rms_norm(x, weight, epsilon_);
}

Normed RmsNormImpl::for_products(const Tensor& x, torch::ScalarType compute, const Tensor& router) {
  return rms_norm_for_products(x, weight, epsilon_, compute, router);
}

}  // namespace ringflash
