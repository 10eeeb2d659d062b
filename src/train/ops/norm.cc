#include "train/ops/norm.h"

#include <algorithm>

#include "base/aligned.h"
#include "base/ceil_div.h"
#include "format/kept_weights.h"
#include "kernels/kernels.h"
#include "train/ops/row_blocks.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

namespace {

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
    const Tensor partial = torch::zeros({ceil_div(rows, kRowBlock), width}, x.options());
    for_blocks(rows, kRowBlock, [&](int64_t block, int64_t begin, int64_t end) {
      kernels::table().rms_norm_backward(x.data_ptr<float>() + begin * width, gain.data_ptr<float>(),
                                         dy.data_ptr<float>() + begin * width, dx.data_ptr<float>() + begin * width,
                                         partial.data_ptr<float>() + block * width, end - begin, width, epsilon);
    });
    return {dx, partial.sum(0), Tensor()};
  }
};

/// Rows that are normed and used while a first-level cache has them.
constexpr int64_t kNormedRows = 8;

void widen_all(const bf16* from, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]);
}

/// rms_norm_for_products() in bf16 on the CPU. An empty router, and an empty tensor of scores, stand for none.
class NormedFunction : public torch::autograd::Function<NormedFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& input, const Tensor& gain, const Tensor& router,
                               double epsilon) {
    const Tensor x = input.contiguous(), weight = router.contiguous();
    const int64_t width = x.size(-1), rows = x.numel() / width, heads = weight.numel() / width;
    Tensor rounded = torch::empty_like(x, torch::kBFloat16);
    Tensor scores = torch::empty({heads > 0 ? rows : 0, heads}, x.options());
    const kernels::Table& table = kernels::table();
    for_blocks(rows, kNormedRows, [&](int64_t, int64_t begin, int64_t end) {
      const auto full = make_aligned_for_overwrite<float>(static_cast<size_t>(kNormedRows * width));
      table.rms_norm(x.data_ptr<float>() + begin * width, gain.data_ptr<float>(), full.get(), end - begin, width,
                     static_cast<float>(epsilon));
      round_to_bf16(full.get(), (end - begin) * width, bf16_data(rounded) + begin * width);
      if (heads == 0) return;
      table.matmul_f32(full.get(), weight.data_ptr<float>(), scores.data_ptr<float>() + begin * heads, end - begin, width, heads, 0,
                       heads);
    });
    context->save_for_backward({x, gain, weight});
    context->saved_data["epsilon"] = epsilon;
    context->set_materialize_grads(false);
    return {rounded, scores};
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list saved = context->get_saved_variables();
    Gradients all(saved[0], saved[1], saved[2], grads, static_cast<float>(context->saved_data["epsilon"].toDouble()));
    for_blocks(all.rows, kRowBlock, [&](int64_t block, int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row += kNormedRows) all.add(block, row, std::min(kNormedRows, end - row));
    });
    const Tensor drouter = all.heads > 0 ? all.router_parts.sum(0) : torch::zeros_like(all.router);
    return {all.dx, all.gain_parts.sum(0), drouter, Tensor()};
  }

 private:
  struct Gradients {
    Gradients(const Tensor& its_x, const Tensor& its_gain, const Tensor& its_router, const variable_list& grads, float eps)
        : x(its_x), gain(its_gain), router(its_router), width(x.size(-1)), rows(x.numel() / width),
          heads(grads[1].defined() ? router.numel() / width : 0), epsilon(eps), dx(torch::empty_like(x)) {
      if (grads[0].defined()) drounded = grads[0].contiguous();
      if (heads > 0) dscores = grads[1].contiguous();
      const int64_t blocks = ceil_div(rows, kRowBlock);
      gain_parts = torch::zeros({blocks, width}, x.options());
      router_parts = torch::zeros({blocks, heads, width}, x.options());
    }

    /// Adds what rows [row, row + count) give.
    void add(int64_t block, int64_t row, int64_t count) {
      const auto room = make_aligned_for_overwrite<float>(static_cast<size_t>(2 * count * width));
      float *dfull = room.get(), *full = dfull + count * width;
      if (drounded.defined()) {
        widen_all(bf16_data(drounded) + row * width, count * width, dfull);
      } else {
        std::fill_n(dfull, count * width, 0.0f);
      }
      const float* rows_of_x = x.data_ptr<float>() + row * width;
      if (heads > 0) table.rms_norm(rows_of_x, gain.data_ptr<float>(), full, count, width, epsilon);
      for (int64_t i = 0; i < count * heads; ++i) {
        const int64_t t = i / heads, h = i % heads;
        const float factor = dscores.data_ptr<float>()[row * heads + i];
        table.add_scaled(factor, router.data_ptr<float>() + h * width, dfull + t * width, width);
        table.add_scaled(factor, full + t * width, router_parts.data_ptr<float>() + (block * heads + h) * width, width);
      }
      table.rms_norm_backward(rows_of_x, gain.data_ptr<float>(), dfull, dx.data_ptr<float>() + row * width,
                              gain_parts.data_ptr<float>() + block * width, count, width, epsilon);
    }

    const kernels::Table& table = kernels::table();
    Tensor x, gain, router, drounded, dscores;
    int64_t width, rows, heads;  ///< heads: whose scores have gradients
    float epsilon;
    Tensor dx, gain_parts, router_parts;
  };
};

/// The same from torch's operators.
variable_list composed_norm(const Tensor& x, const Tensor& gain, const Tensor& router, double epsilon, torch::ScalarType type) {
  const Tensor full = rms_norm(x, gain, epsilon);
  return {full.to(type), router.numel() > 0 ? torch::linear(full, router) : torch::empty({0}, x.options())};
}

class ComposedNormFunction : public torch::autograd::Function<ComposedNormFunction> {
 public:
  static variable_list forward(AutogradContext* context, const Tensor& x, const Tensor& gain, const Tensor& router,
                               double epsilon, torch::ScalarType type) {
    context->save_for_backward({x, gain, router});
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["type"] = static_cast<int64_t>(type);
    context->set_materialize_grads(false);
    return composed_norm(x, gain, router, epsilon, type);
  }

  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const torch::AutoGradMode enable(true);
    variable_list leaves;
    for (const Tensor& kept : context->get_saved_variables()) leaves.push_back(kept.detach().requires_grad_());
    const auto type = static_cast<torch::ScalarType>(context->saved_data["type"].toInt());
    const variable_list outputs = composed_norm(leaves[0], leaves[1], leaves[2], context->saved_data["epsilon"].toDouble(), type);
    variable_list ys, dys;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!grads[i].defined() || outputs[i].numel() == 0) continue;
      ys.push_back(outputs[i]);
      dys.push_back(grads[i]);
    }
    variable_list found = torch::autograd::grad(ys, leaves, dys, /*retain_graph=*/false, /*create_graph=*/false,
                                                /*allow_unused=*/true);
    found.insert(found.end(), 2, Tensor());
    return found;
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x, const Tensor& gain, double epsilon) {
  if (x.device().is_cpu() && x.scalar_type() == torch::kFloat32) return RmsNormFunction::apply(x, gain, epsilon);
  return x * torch::rsqrt(x.square().mean(-1, true) + epsilon) * gain;
}

Normed rms_norm_for_products(const Tensor& x, const Tensor& gain, double epsilon, torch::ScalarType type, const Tensor& router) {
  const bool fused = x.device().is_cpu() && x.scalar_type() == torch::kFloat32 && type == torch::kBFloat16;
  const Tensor weight = router.defined() ? router : torch::empty({0}, x.options());
  const variable_list both = fused ? NormedFunction::apply(x, gain, weight, epsilon)
                                   : ComposedNormFunction::apply(x, gain, weight, epsilon, type);
  return {both[0], router.defined() ? both[1] : Tensor()};
}

}  // namespace ringflash
