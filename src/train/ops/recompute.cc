#include "train/ops/recompute.h"

#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A function where the autograd context can hold it.
template <typename F>
struct Held : torch::CustomClassHolder {
  explicit Held(F f) : function(std::move(f)) {}
  F function;
};

template <typename F>
void hold(AutogradContext* context, const F& function) {
  context->saved_data["function"] = torch::IValue::make_capsule(c10::make_intrusive<Held<F>>(function));
}

template <typename F>
F held(AutogradContext* context) {
  return static_cast<const Held<F>&>(*context->saved_data["function"].toCapsule()).function;
}

/// Gradients of `ys`, made with grad mode on, by x and all parameters; undefined where they do not depend on one.
variable_list gradients(const variable_list& ys, const variable_list& dys, const Tensor& x,
                        const variable_list& parameters) {
  variable_list inputs;
  if (x.requires_grad()) inputs.push_back(x);
  for (const Tensor& parameter : parameters) {
    if (parameter.requires_grad()) inputs.push_back(parameter);
  }
  const variable_list found = torch::autograd::grad(ys, inputs, dys, /*retain_graph=*/false, /*create_graph=*/false,
                                                    /*allow_unused=*/true);
  variable_list all;
  size_t next = 0;
  all.push_back(x.requires_grad() ? found[next++] : Tensor());
  for (const Tensor& parameter : parameters) all.push_back(parameter.requires_grad() ? found[next++] : Tensor());
  return all;
}

/// part(x) with a graph of its own, which ends at x.
template <typename Part>
struct Rerun {
  Rerun(const Part& part, const Tensor& kept) : x(kept.detach().requires_grad_(kept.requires_grad())) {
    const torch::AutoGradMode enable(true);
    y = part(x);
  }
  Tensor x;
  std::invoke_result_t<Part, const Tensor&> y;
};

class Recomputed : public torch::autograd::Function<Recomputed> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, at::TensorList parameters, const ModelPart& part) {
    variable_list kept = {x};
    kept.insert(kept.end(), parameters.begin(), parameters.end());
    context->save_for_backward(kept);
    hold(context, part);
    return part(x);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list kept = context->get_saved_variables();
    const Rerun rerun(held<ModelPart>(context), kept[0]);
    variable_list all = gradients({rerun.y}, grads, rerun.x, {kept.begin() + 1, kept.end()});
    all.push_back(Tensor());
    return all;
  }
};

class RecomputedLinear : public torch::autograd::Function<RecomputedLinear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight, at::TensorList parameters,
                        const LinearPart& part) {
    variable_list kept = {x, weight};
    kept.insert(kept.end(), parameters.begin(), parameters.end());
    context->save_for_backward(kept);
    hold(context, part);
    const LinearEnd end = part(x);
    const Tensor product = torch::linear(end.inner, weight);
    return end.residual.defined() ? end.residual + product : product;
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const variable_list kept = context->get_saved_variables();
    const Tensor &weight = kept[1], dproduct = grads[0].to(weight.scalar_type());
    const Rerun rerun(held<LinearPart>(context), kept[0]);
    const Tensor dweight = dproduct.t().mm(rerun.y.inner.detach());
    variable_list ys = {rerun.y.inner}, dys = {dproduct.mm(weight)};
    if (rerun.y.residual.defined()) {
      ys.push_back(rerun.y.residual);
      dys.push_back(grads[0]);
    }
    variable_list all = gradients(ys, dys, rerun.x, {kept.begin() + 2, kept.end()});
    all.insert(all.begin() + 1, dweight);
    all.push_back(Tensor());
    return all;
  }
};

class ForgetfulLinear : public torch::autograd::Function<ForgetfulLinear> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x, const Tensor& weight,
                        const std::function<Tensor()>& again) {
    context->save_for_backward({weight});
    hold(context, again);
    return torch::linear(x, weight);
  }
  static variable_list backward(AutogradContext* context, const variable_list& grads) {
    const Tensor weight = context->get_saved_variables()[0], &dy = grads[0];
    Tensor dx, dweight;
    if (context->needs_input_grad(0)) dx = dy.mm(weight);
    if (context->needs_input_grad(1)) dweight = dy.t().mm(held<std::function<Tensor()>>(context)());
    return {dx, dweight, Tensor()};
  }
};

}  // namespace

Tensor recomputed(const ModelPart& part, const Tensor& x, const std::vector<Tensor>& parameters) {
  return Recomputed::apply(x, at::TensorList(parameters), part);
}

Tensor recomputed_linear(const LinearPart& part, const Tensor& x, const std::vector<Tensor>& parameters,
                         const Tensor& weight) {
  return RecomputedLinear::apply(x, weight, at::TensorList(parameters), part);
}

Tensor forgetful_linear(const Tensor& x, const Tensor& weight, const std::function<Tensor()>& again) {
  return ForgetfulLinear::apply(x, weight, again);
}

}  // namespace ringflash
