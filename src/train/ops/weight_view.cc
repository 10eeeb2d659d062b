#include "train/ops/weight_view.h"

#include "base/check.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class SeenWeight : public torch::autograd::Function<SeenWeight> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& weight, const Tensor& mask, int64_t bits,
                        int64_t compute) {
    RF_CHECK(bits == 16);
    return torch::where(mask, weight, 0.0).to(static_cast<torch::ScalarType>(compute));
  }

  static variable_list backward(AutogradContext*, const variable_list& grads) {
    return {grads[0].to(torch::kFloat32), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor seen_weight(const Tensor& weight, const WeightView& view, torch::ScalarType compute) {
  if (!view.mask.defined()) return weight.to(compute);
  return SeenWeight::apply(weight, view.mask, view.bits, static_cast<int64_t>(compute));
}

}  // namespace ringflash
