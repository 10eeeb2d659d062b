#include "train/ops/fused.h"

#include "kernels/kernels.h"
#include "train/ops/row_blocks.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input, const Tensor& gain, double epsilon) {
    const Tensor x = input.contiguous();
    const int64_t width = x.size(-1), rows = x.numel() / width;
    Tensor y = torch::empty_like(x);
    for_blocks(rows, kRowBlock, [&](int64_t, int64_t begin, int64_t end) {
      kernels::table().rms_norm(x.data_ptr<float>() + begin * width, gain.data_ptr<float>(),
                                y.data_ptr<float>() + begin * width, end - begin, width, static_cast<float>(epsilon));
    });
    context->save_for_backward({x, gain});
    context->saved_data["epsilon"] = epsilon;
    return y;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    const Tensor x = saved[0], gain = saved[1], dy = grads[0].contiguous();
    const auto epsilon = static_cast<float>(context->saved_data["epsilon"].toDouble());
    const int64_t width = x.size(-1), rows = x.numel() / width;
    Tensor dx = torch::empty_like(x);
    const Tensor partial = torch::zeros({(rows + kRowBlock - 1) / kRowBlock, width}, x.options());
    for_blocks(rows, kRowBlock, [&](int64_t block, int64_t begin, int64_t end) {
      kernels::table().rms_norm_backward(x.data_ptr<float>() + begin * width, gain.data_ptr<float>(),
                                         dy.data_ptr<float>() + begin * width, dx.data_ptr<float>() + begin * width,
                                         partial.data_ptr<float>() + block * width, end - begin, width, epsilon);
    });
    return {dx, partial.sum(0), Tensor()};
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

Tensor rms_norm(const Tensor& x, const Tensor& gain, double epsilon) {
  if (x.device().is_cpu() && x.scalar_type() == torch::kFloat32) return RmsNormFunction::apply(x, gain, epsilon);
  return x * torch::rsqrt(x.square().mean(-1, true) + epsilon) * gain;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  if (gate.device().is_cpu() && gate.scalar_type() == torch::kBFloat16) return SwigluFunction::apply(gate, up);
  return torch::silu(gate) * up;
}

Tensor geglu(const Tensor& gate, const Tensor& up) {
  return torch::gelu(gate, "tanh") * up;
}

}  // namespace ringflash
