#include "train/ops/fused.h"

#include "kernels/kernels.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRowBlock = 64;            // rows of one task; results do not depend on the number of threads
constexpr int64_t kElementBlock = 1 << 15;   // numbers of one task

bf16* bf16_data(const Tensor& t) { return reinterpret_cast<bf16*>(t.data_ptr<at::BFloat16>()); }

/// Calls body(block, begin, end) for blocks of [0, count).
template <typename Body>
void for_blocks(int64_t count, int64_t block, Body body) {
  const int64_t blocks = (count + block - 1) / block;
  at::parallel_for(0, blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) body(b, b * block, std::min(count, (b + 1) * block));
  });
}

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

struct SliceLoss {
  Tensor loss;     ///< a scalar, fp32
  Tensor dlogits;  ///< as the logits
};

SliceLoss cross_entropy_kernel(const Tensor& logits, const Tensor& targets) {
  const int64_t vocab = logits.size(1);
  Tensor loss = torch::empty({logits.size(0)}, torch::kFloat32);
  for_blocks(logits.size(0), kRowBlock, [&](int64_t, int64_t begin, int64_t end) {
    kernels::table().cross_entropy_bf16(bf16_data(logits) + begin * vocab, targets.data_ptr<int64_t>() + begin,
                                        loss.data_ptr<float>() + begin, end - begin, vocab);
  });
  return {loss.sum(), logits};
}

SliceLoss cross_entropy_composed(const Tensor& logits, const Tensor& targets) {
  const Tensor keep = targets.ge(0);
  const Tensor index = targets.clamp_min(0).unsqueeze(1);
  const Tensor logp = torch::log_softmax(logits.to(torch::kFloat32), 1);
  const Tensor loss = -(logp.gather(1, index).squeeze(1) * keep).sum();
  Tensor dlogits = logp.exp();
  dlogits.scatter_add_(1, index, torch::full(index.sizes(), -1, dlogits.options()));
  return {loss, dlogits.mul_(keep.unsqueeze(1)).to(logits.scalar_type())};
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                        int64_t compute, bool wants_grad) {
    const auto type = static_cast<torch::ScalarType>(compute);
    const bool fused = hidden.device().is_cpu() && type == torch::kBFloat16;
    const Tensor w = weight.to(type);
    Tensor loss = torch::zeros({}, hidden.options());
    Tensor dhidden = wants_grad ? torch::empty_like(hidden) : Tensor();
    Tensor dweight = wants_grad ? torch::zeros_like(weight) : Tensor();
    const int64_t rows = logits_slice_rows(weight.size(0));
    for (int64_t first = 0; first < hidden.size(0); first += rows) {
      const int64_t last = std::min(first + rows, hidden.size(0));
      const Tensor x = hidden.slice(0, first, last).to(type), target = targets.slice(0, first, last);
      const Tensor logits = torch::linear(x, w);
      const SliceLoss slice = fused ? cross_entropy_kernel(logits, target) : cross_entropy_composed(logits, target);
      loss += slice.loss;
      if (!wants_grad) continue;
      dhidden.slice(0, first, last).copy_(torch::matmul(slice.dlogits, w));
      dweight.add_(torch::matmul(slice.dlogits.t(), x));
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
  if (x.device().is_cpu() && x.scalar_type() == torch::kFloat32) return RmsNormFunction::apply(x, gain, epsilon);
  return x * torch::rsqrt(x.square().mean(-1, true) + epsilon) * gain;
}

Tensor swiglu(const Tensor& gate, const Tensor& up) {
  if (gate.device().is_cpu() && gate.scalar_type() == torch::kBFloat16) return SwigluFunction::apply(gate, up);
  return torch::silu(gate) * up;
}

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            torch::ScalarType compute) {
  return LinearCrossEntropy::apply(hidden, weight, targets, static_cast<int64_t>(compute),
                                   torch::GradMode::is_enabled());
}

}  // namespace ringflash
