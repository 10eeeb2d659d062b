#include "train/ops/weight_view.h"

#include "base/check.h"
#include "format/quantize_sparse.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Row blocks of one task of a thread.
constexpr int64_t kTaskBlocks = 4;

class SeenWeight : public torch::autograd::Function<SeenWeight> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& weight, const WeightView& view, int64_t compute) {
    Tensor seen = torch::where(view.mask, weight, 0.0);
    if (view.bits < 16) seen = quantized_weight(seen, view.bits, view.nonzeros);
    return seen.to(static_cast<torch::ScalarType>(compute));
  }

  static variable_list backward(AutogradContext*, const variable_list& grads) {
    return {grads[0].to(torch::kFloat32), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor quantized_weight(const Tensor& weights, int64_t bits, int64_t nonzeros) {
  const Tensor masked = weights.detach().to(torch::kCPU).contiguous();
  Tensor decoded = torch::empty_like(masked);
  SparseFormat format{.bits = bits == 4 ? SparseBits::k4 : SparseBits::k8,
                      .shape = {masked.size(0), masked.size(1), static_cast<int>(nonzeros)}};
  if (format.bits == SparseBits::k4) format.base = s4_base_exponent(masked.abs().max().item<float>());
  at::parallel_for(0, format.shape.row_blocks(), kTaskBlocks, [&](int64_t begin, int64_t end) {
    const Status status =
        fake_quantize(format, masked.data_ptr<float>(), {begin, end}, decoded.data_ptr<float>());
    RF_CHECK(status.ok());  // weights have exploded; the loss said so before
  });
  return decoded.to(weights.device());
}

Tensor seen_weight(const Tensor& weight, const WeightView& view, torch::ScalarType compute) {
  if (!view.mask.defined()) return weight.to(compute);
  return SeenWeight::apply(weight, view, static_cast<int64_t>(compute));
}

}  // namespace ringflash
