#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/kernels.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;

AdamW::AdamW(std::vector<Parameter> parameters, const TrainConfig& config)
    : beta1_(config.adam_beta1), beta2_(config.adam_beta2), epsilon_(config.adam_epsilon) {
  for (Parameter& parameter : parameters) {
    const double decay = parameter.value.dim() >= 2 ? config.weight_decay : 0.0;
    const auto options = parameter.value.options().requires_grad(false);
    Tensor mean = torch::zeros(parameter.value.sizes(), options);
    Tensor square = torch::zeros(parameter.value.sizes(), options);
    slots_.push_back({std::move(parameter), std::move(mean), std::move(square), decay});
  }
}

AdamW::Slot& AdamW::slot_of(const std::string& parameter) {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [&](const Slot& slot) { return slot.parameter.name == parameter; });
  RF_CHECK(found != slots_.end());
  return *found;
}

void AdamW::set_mask(const std::string& parameter, Tensor mask, double pruned_scale, double l1) {
  Slot& slot = slot_of(parameter);
  RF_CHECK(mask.scalar_type() == torch::kBool && mask.sizes() == slot.mean.sizes());
  slot.mask = mask.contiguous();
  slot.pruned_scale = pruned_scale;
  slot.l1 = l1;
}

void AdamW::reset_moments(const std::string& parameter, const Tensor& where) {
  Slot& slot = slot_of(parameter);
  slot.mean.masked_fill_(where, 0);
  slot.square.masked_fill_(where, 0);
}

void AdamW::step(double learning_rate, double grad_scale) {
  ++steps_;
  for (Slot& slot : slots_) {
    if (slot.parameter.value.grad().defined()) update(slot, learning_rate, grad_scale);
  }
}

void AdamW::update(Slot& slot, double learning_rate, double grad_scale) const {
  torch::NoGradGuard no_grad;
  Tensor& value = slot.parameter.value;
  const Tensor grad = value.grad().contiguous();
  const double correction1 = 1 - std::pow(beta1_, static_cast<double>(steps_));
  const double correction2 = 1 / std::sqrt(1 - std::pow(beta2_, static_cast<double>(steps_)));
  if (!value.device().is_cpu()) {
    slot.mean.mul_(beta1_).add_(grad, (1 - beta1_) * grad_scale);
    slot.square.mul_(beta2_).addcmul_(grad, grad, (1 - beta2_) * grad_scale * grad_scale);
    Tensor change = slot.mean / slot.square.sqrt().mul_(correction2).add_(epsilon_);
    change.mul_(learning_rate / correction1)
        .add_(value, learning_rate * slot.decay)
        .add_(value.sign(), learning_rate * slot.l1);
    value.sub_(slot.mask.defined() ? torch::where(slot.mask, change, change * slot.pruned_scale) : change);
    return;
  }
  const kernels::AdamWStep step = {.beta1 = static_cast<float>(beta1_),
                                   .beta2 = static_cast<float>(beta2_),
                                   .epsilon = static_cast<float>(epsilon_),
                                   .rate = static_cast<float>(learning_rate / correction1),
                                   .root_correction = static_cast<float>(correction2),
                                   .decay = static_cast<float>(learning_rate * slot.decay),
                                   .grad_scale = static_cast<float>(grad_scale),
                                   .pruned_scale = static_cast<float>(slot.pruned_scale),
                                   .shrink = static_cast<float>(learning_rate * slot.l1)};
  float* w = value.data_ptr<float>();
  const float* g = grad.data_ptr<float>();
  float* m = slot.mean.data_ptr<float>();
  float* v = slot.square.data_ptr<float>();
  const auto* mask =
      slot.mask.defined() ? reinterpret_cast<const uint8_t*>(slot.mask.data_ptr<bool>()) : nullptr;
  at::parallel_for(0, value.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    kernels::table().adamw(w + begin, g + begin, m + begin, v + begin, mask ? mask + begin : nullptr,
                           end - begin, step);
  });
}

void AdamW::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.value.mutable_grad() = Tensor();
}

double AdamW::grad_norm() const {
  torch::NoGradGuard no_grad;
  double sum = 0;
  for (const Slot& slot : slots_) {
    const Tensor& grad = slot.parameter.value.grad();
    if (!grad.defined()) continue;
    const double norm = torch::linalg_vector_norm(grad).item<double>();
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

std::vector<AdamW::Parameter> AdamW::state() const {
  std::vector<Parameter> tensors;
  for (const Slot& slot : slots_) {
    tensors.push_back({slot.parameter.name + ".exp_avg", slot.mean});
    tensors.push_back({slot.parameter.name + ".exp_avg_sq", slot.square});
  }
  return tensors;
}

}  // namespace ringflash
