#include "train/ops/fused.h"

#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Logits of this many numbers are alive at once: 16 MB in fp32.
constexpr int64_t kLogitsSlice = int64_t{4} << 20;

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                        int64_t compute, bool wants_grad) {
    const auto type = static_cast<torch::ScalarType>(compute);
    const Tensor w = weight.to(type);
    Tensor loss = torch::zeros({}, hidden.options());
    Tensor dhidden = wants_grad ? torch::empty_like(hidden) : Tensor();
    Tensor dweight = wants_grad ? torch::zeros_like(weight) : Tensor();
    const int64_t rows = std::max<int64_t>(1, kLogitsSlice / weight.size(0));
    for (int64_t first = 0; first < hidden.size(0); first += rows) {
      const int64_t last = std::min(first + rows, hidden.size(0));
      const Tensor x = hidden.slice(0, first, last).to(type);
      const Tensor target = targets.slice(0, first, last);
      const Tensor keep = target.ge(0);
      const Tensor index = target.clamp_min(0).unsqueeze(1);
      Tensor logp = torch::log_softmax(torch::linear(x, w).to(torch::kFloat32), 1);
      loss -= (logp.gather(1, index).squeeze(1) * keep).sum();
      if (!wants_grad) continue;
      Tensor dlogits = logp.exp_();
      dlogits.scatter_add_(1, index, torch::full_like(index, -1, dlogits.options()));
      dlogits.mul_(keep.unsqueeze(1));
      const Tensor d = dlogits.to(type);
      dhidden.slice(0, first, last).copy_(torch::matmul(d, w));
      dweight.add_(torch::matmul(d.t(), x));
    }
    context->save_for_backward({dhidden, dweight});
    return loss;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& gain, double epsilon) {
  return x * torch::rsqrt(x.square().mean(-1, true) + epsilon) * gain;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) { return torch::silu(gate) * up; }

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            torch::ScalarType compute) {
  return LinearCrossEntropy::apply(hidden, weight, targets, static_cast<int64_t>(compute), torch::GradMode::is_enabled());
}

}  // namespace ringflash
