#include "train/ops/linear_loss.h"

#include "kernels/kernels.h"
#include "plan/loss_slices.h"
#include "train/ops/row_blocks.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct SliceLoss {
  Tensor loss;     ///< a scalar, fp32
  Tensor dlogits;  ///< as the logits
};

/// Whether the kernels' one pass over logits serves.
bool is_fused(const Tensor& hidden, torch::ScalarType compute) {
  return hidden.device().is_cpu() && compute == torch::kBFloat16;
}

/// a b, rounded once. On processors that have no products of bf16 libtorch sums them in bf16; here fp32 does, which is
/// faster, too.
Tensor product(const Tensor& a, const Tensor& b) {
  const bool widens = a.device().is_cpu() && a.scalar_type() == torch::kBFloat16 && !kernels::has_fast_bf16();
  if (!widens) return torch::matmul(a, b);
  return torch::matmul(a.to(torch::kFloat32), b.to(torch::kFloat32)).to(torch::kBFloat16);
}

/// Rows of logits that a thread takes at a time: a slice has few, and each is long.
constexpr int64_t kLossRows = 4;

/// row_losses(logits, targets, losses, first row, rows) for all rows.
template <typename RowLosses>
SliceLoss loss_in_place(const Tensor& logits, const Tensor& targets, RowLosses row_losses) {
  Tensor loss = torch::empty({logits.size(0)}, torch::kFloat32);
  for_blocks(logits.size(0), kLossRows, [&](int64_t, int64_t begin, int64_t end) {
    row_losses(bf16_data(logits) + begin * logits.size(1), targets.data_ptr<int64_t>() + begin,
               loss.data_ptr<float>() + begin, begin, end - begin);
  });
  return {loss.sum(), logits};
}

SliceLoss cross_entropy_kernel(const Tensor& logits, const Tensor& targets) {
  return loss_in_place(logits, targets, [&](bf16* x, const int64_t* target, float* loss, int64_t, int64_t rows) {
    kernels::table().cross_entropy_bf16(x, target, loss, rows, logits.size(1));
  });
}

SliceLoss distillation_kernel(const Tensor& logits, const Tensor& targets, const Tensor& opinion, double weight) {
  return loss_in_place(logits, targets, [&](bf16* x, const int64_t* target, float* loss, int64_t first, int64_t rows) {
    kernels::table().distillation_bf16(x, bf16_data(opinion) + first * logits.size(1), target,
                                       static_cast<float>(weight), loss, rows, logits.size(1));
  });
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

/// The loss of all rows and, where wanted, its gradients, slice by slice: slice_loss(logits, first, last) is the one
/// of rows [first, last).
struct LossAndGradients {
  Tensor loss, dhidden, dweight;
};

template <typename LossOfSlice>
LossAndGradients loss_by_slices(const Tensor& hidden, const Tensor& weight, torch::ScalarType compute, bool wants_grad,
                                LossOfSlice slice_loss) {
  const Tensor w = weight.to(compute);
  LossAndGradients all{.loss = torch::zeros({}, hidden.options()),
                       .dhidden = wants_grad ? torch::empty_like(hidden) : Tensor(),
                       .dweight = wants_grad ? torch::zeros_like(weight) : Tensor()};
  const int64_t rows = is_fused(hidden, compute) ? fused_slice_rows(weight.size(0), weight.size(1)) : logits_slice_rows(weight.size(0));
  for (int64_t first = 0; first < hidden.size(0); first += rows) {
    const int64_t last = std::min(first + rows, hidden.size(0));
    const Tensor x = hidden.slice(0, first, last).to(compute);
    const SliceLoss slice = slice_loss(product(x, w.t()), first, last);
    all.loss += slice.loss;
    if (!wants_grad) continue;
    all.dhidden.slice(0, first, last).copy_(product(slice.dlogits, w));
    all.dweight.add_(product(slice.dlogits.t(), x));
  }
  return all;
}

class LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                        int64_t compute, bool wants_grad) {
    const auto type = static_cast<torch::ScalarType>(compute);
    const bool fused = is_fused(hidden, type);
    const LossAndGradients all =
        loss_by_slices(hidden, weight, type, wants_grad, [&](const Tensor& logits, int64_t first, int64_t last) {
          const Tensor target = targets.slice(0, first, last);
          return fused ? cross_entropy_kernel(logits, target) : cross_entropy_composed(logits, target);
        });
    context->save_for_backward({all.dhidden, all.dweight});
    return all.loss;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], Tensor(), Tensor(), Tensor()};
  }
};

/// Cross entropy against the mixture of target and teacher.
SliceLoss distillation_composed(const Tensor& logits, const Tensor& targets, const Tensor& teacher_logits, double weight) {
  const Tensor keep = targets.ge(0).unsqueeze(1);
  const Tensor index = targets.clamp_min(0).unsqueeze(1);
  const Tensor logp = torch::log_softmax(logits.to(torch::kFloat32), 1);
  Tensor wanted = torch::softmax(teacher_logits.to(torch::kFloat32), 1).mul_(weight);
  wanted.scatter_add_(1, index, torch::full(index.sizes(), 1 - weight, wanted.options()));
  wanted.mul_(keep);
  return {-(wanted * logp).sum(), (logp.exp() * keep - wanted).to(logits.scalar_type())};
}

class LinearDistillation : public torch::autograd::Function<LinearDistillation> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                        const Teacher& teacher, int64_t compute, bool wants_grad) {
    const auto type = static_cast<torch::ScalarType>(compute);
    const Tensor head = teacher.head.to(type);
    const bool fused = is_fused(hidden, type);
    const LossAndGradients all =
        loss_by_slices(hidden, weight, type, wants_grad, [&](const Tensor& logits, int64_t first, int64_t last) {
          const Tensor opinion = product(teacher.hidden.slice(0, first, last).to(type), head.t());
          const Tensor target = targets.slice(0, first, last);
          return fused ? distillation_kernel(logits, target, opinion, teacher.weight)
                       : distillation_composed(logits, target, opinion, teacher.weight);
        });
    context->save_for_backward({all.dhidden, all.dweight});
    return all.loss;
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor linear_cross_entropy(const Tensor& hidden, const Tensor& weight, const Tensor& targets,
                            torch::ScalarType compute) {
  return LinearCrossEntropy::apply(hidden, weight, targets, static_cast<int64_t>(compute),
                                   torch::GradMode::is_enabled());
}

Tensor linear_distillation(const Tensor& hidden, const Tensor& weight, const Tensor& targets, const Teacher& teacher,
                           torch::ScalarType compute) {
  return LinearDistillation::apply(hidden, weight, targets, teacher, static_cast<int64_t>(compute),
                                   torch::GradMode::is_enabled());
}

}  // namespace ringflash
