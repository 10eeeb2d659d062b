#include "train/ops/fused.h"

#include "kernels/kernels.h"
#include "train/ops/row_blocks.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void add_all(const float* x, const bf16* y, int64_t count, float* sum) {
  for (int64_t i = 0; i < count; ++i) sum[i] = x[i] + to_float(y[i]);
}

class ResidualFunction : public torch::autograd::Function<ResidualFunction> {
 public:
  static Tensor forward(AutogradContext*, const Tensor& residual, const Tensor& addend) {
    const Tensor x = residual.contiguous(), y = addend.contiguous();
    Tensor sum = torch::empty_like(x);
    for_blocks(x.numel(), kElementBlock, [&](int64_t, int64_t begin, int64_t end) {
      add_all(x.data_ptr<float>() + begin, bf16_data(y) + begin, end - begin, sum.data_ptr<float>() + begin);
    });
    return sum;
  }

  static variable_list backward(AutogradContext*, const variable_list& grads) {
    return {grads[0], grads[0].to(torch::kBFloat16)};
  }
};

class SwigluFunction : public torch::autograd::Function<SwigluFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& gate, const Tensor& up) {
    const Tensor g = gate.contiguous(), u = up.contiguous();
    Tensor y = torch::empty_like(g);
    for_blocks(g.numel(), kElementBlock, [&](int64_t, int64_t begin, int64_t end) {
      kernels::table().swiglu_bf16(bf16_data(g) + begin, bf16_data(u) + begin, bf16_data(y) + begin, end - begin);
    });
    context->save_for_backward({g, u});
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const Tensor g = saved[0], u = saved[1], dy = grads[0].contiguous();
    Tensor dgate = torch::empty_like(g), dup = torch::empty_like(u);
    for_blocks(g.numel(), kElementBlock, [&](int64_t, int64_t begin, int64_t end) {
      kernels::table().swiglu_backward_bf16(bf16_data(g) + begin, bf16_data(u) + begin, bf16_data(dy) + begin,
                                            bf16_data(dgate) + begin, bf16_data(dup) + begin, end - begin);
    });
    return {dgate, dup};
  }
};

}  // namespace

Tensor residual_sum(const Tensor& x, const Tensor& y) {
  const bool fused = x.device().is_cpu() && x.scalar_type() == torch::kFloat32 && y.scalar_type() == torch::kBFloat16;
  return fused ? ResidualFunction::apply(x, y) : x + y;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  if (gate.device().is_cpu() && gate.scalar_type() == torch::kBFloat16) return SwigluFunction::apply(gate, up);
  return torch::silu(gate) * up;
}

Tensor geglu(const Tensor& gate, const Tensor& up) {
  return torch::gelu(gate, "tanh") * up;
}

}  // namespace ringflash
