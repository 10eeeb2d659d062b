#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/kernels.h"
#include "plan/training_plan.h"
#include "train/moments8.h"
#include "train/torch_headers.h"

namespace ringflash {

using torch::Tensor;

namespace {

bool may_be_coded(const AdamW::Parameter& parameter) {
  return may_have_coded_moments(parameter.name, parameter.value.dim(), parameter.value.numel());
}

/// Calls update(block, begin, count) for parts of `numbers` that begin where blocks of moments do, on all threads.
template <typename Update>
void for_each_part(int64_t numbers, const Update& update) {
  constexpr int64_t kLeastBlocks = (1 << 15) / kernels::kMomentBlock;
  at::parallel_for(0, moment_blocks(numbers), kLeastBlocks, [&](int64_t first, int64_t last) {
    const int64_t begin = first * kernels::kMomentBlock, end = std::min(last * kernels::kMomentBlock, numbers);
    update(first, begin, end - begin);
  });
}

}  // namespace

AdamW::Moment AdamW::zero_moment(const Tensor& parameter, bool coded, uint8_t zero) {
  const auto options = parameter.options().requires_grad(false);
  if (!coded) return {torch::zeros(parameter.sizes(), options)};
  return {torch::full(parameter.sizes(), zero, options.dtype(torch::kUInt8)),
          torch::zeros({moment_blocks(parameter.numel())}, options)};
}

AdamW::AdamW(std::vector<Parameter> parameters, const TrainConfig& config)
    : beta1_(config.adam_beta1), beta2_(config.adam_beta2), epsilon_(config.adam_epsilon) {
  for (Parameter& parameter : parameters) {
    const double decay = parameter.value.dim() >= 2 ? config.weight_decay : 0.0;
    const bool coded = config.optimizer_bits == 8 && may_be_coded(parameter);
    Moment mean = zero_moment(parameter.value, coded, kernels::kSignedZero);
    Moment square = zero_moment(parameter.value, coded, kernels::kUnsignedZero);
    slots_.push_back({std::move(parameter), decay, std::move(mean), std::move(square)});
  }
}

AdamW::Slot& AdamW::slot_of(const std::string& parameter) {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [&](const Slot& slot) { return slot.parameter.name == parameter; });
  RF_CHECK(found != slots_.end());
  return *found;
}

void AdamW::set_mask(const std::string& parameter, Tensor mask, const MaskedUpdate& update) {
  Slot& slot = slot_of(parameter);
  RF_CHECK(mask.scalar_type() == torch::kBool && mask.sizes() == slot.mean.values.sizes());
  slot.mask = mask.contiguous();
  slot.masked = update;
}

void AdamW::reset_moments(const std::string& parameter, const Tensor& where) {
  Slot& slot = slot_of(parameter);
  slot.mean.values.masked_fill_(where, slot.mean.coded() ? kernels::kSignedZero : 0);
  slot.square.values.masked_fill_(where, 0);
}

void AdamW::step(double learning_rate, double grad_scale) {
  ++steps_;
  for (Slot& slot : slots_) {
    if (slot.parameter.value.grad().defined()) update(slot, learning_rate, grad_scale);
  }
}

/// What other devices run, and the check on the kernels.
void AdamW::update_composed(Slot& slot, double learning_rate, double grad_scale) const {
  Tensor& value = slot.parameter.value;
  const Tensor& grad = value.grad();
  const bool coded = slot.mean.coded();
  Tensor mean = slot.mean.values, square = slot.square.values;
  if (coded) {
    mean = decode_moment(mean, slot.mean.scales, kernels::kSignedMap);
    square = decode_moment(square, slot.square.scales, kernels::kUnsignedMap);
  }
  mean.mul_(beta1_).add_(grad, (1 - beta1_) * grad_scale);
  square.mul_(beta2_).addcmul_(grad, grad, (1 - beta2_) * grad_scale * grad_scale);
  const double correction1 = 1 - std::pow(beta1_, static_cast<double>(steps_));
  const double correction2 = 1 / std::sqrt(1 - std::pow(beta2_, static_cast<double>(steps_)));
  Tensor change = mean / square.sqrt().mul_(correction2).add_(epsilon_);
  change.mul_(learning_rate * slot.masked.rate_scale / correction1).add_(value, learning_rate * slot.decay);
  if (slot.mask.defined()) change = torch::where(slot.mask, change, change * slot.masked.pruned_scale);
  value.sub_(change);
  if (slot.masked.l1 > 0) {
    const Tensor rest = value.abs().sub_(torch::where(slot.mask, 1.0, slot.masked.pruned_scale) * (learning_rate * slot.masked.l1));
    value.copy_(rest.clamp_min_(0).mul_(value.sign()));
  }
  if (!coded) return;
  encode_moment(mean, kernels::kSignedMap, slot.mean.values, slot.mean.scales);
  encode_moment(square, kernels::kUnsignedMap, slot.square.values, slot.square.scales);
}

void AdamW::update(Slot& slot, double learning_rate, double grad_scale) const {
  torch::NoGradGuard no_grad;
  Tensor& value = slot.parameter.value;
  if (!value.device().is_cpu() || torch_ops_) return update_composed(slot, learning_rate, grad_scale);
  const Tensor grad = value.grad().contiguous();
  const double correction1 = 1 - std::pow(beta1_, static_cast<double>(steps_));
  const double correction2 = 1 / std::sqrt(1 - std::pow(beta2_, static_cast<double>(steps_)));
  const kernels::AdamWStep step = {.beta1 = static_cast<float>(beta1_),
                                   .beta2 = static_cast<float>(beta2_),
                                   .epsilon = static_cast<float>(epsilon_),
                                   .rate = static_cast<float>(learning_rate * slot.masked.rate_scale / correction1),
                                   .root_correction = static_cast<float>(correction2),
                                   .decay = static_cast<float>(learning_rate * slot.decay),
                                   .grad_scale = static_cast<float>(grad_scale),
                                   .pruned_scale = static_cast<float>(slot.masked.pruned_scale),
                                   .shrink = static_cast<float>(learning_rate * slot.masked.l1)};
  float* w = value.data_ptr<float>();
  const float* g = grad.data_ptr<float>();
  const auto* mask =
      slot.mask.defined() ? reinterpret_cast<const uint8_t*>(slot.mask.data_ptr<bool>()) : nullptr;
  const auto part_of_mask = [&](int64_t begin) { return mask != nullptr ? mask + begin : nullptr; };
  if (slot.mean.coded()) {
    const kernels::Moments8 all = {slot.mean.values.data_ptr<uint8_t>(), slot.mean.scales.data_ptr<float>(),
                                   slot.square.values.data_ptr<uint8_t>(), slot.square.scales.data_ptr<float>()};
    return for_each_part(value.numel(), [&](int64_t block, int64_t begin, int64_t count) {
      const kernels::Moments8 part = {all.m + begin, all.m_scale + block, all.v + begin, all.v_scale + block};
      kernels::table().adamw8(w + begin, g + begin, part, part_of_mask(begin), count, step);
    });
  }
  float* m = slot.mean.values.data_ptr<float>();
  float* v = slot.square.values.data_ptr<float>();
  for_each_part(value.numel(), [&](int64_t, int64_t begin, int64_t count) {
    kernels::table().adamw(w + begin, g + begin, m + begin, v + begin, part_of_mask(begin), count, step);
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
  const auto add = [&](const std::string& name, const Moment& moment) {
    tensors.push_back({name, moment.values});
    if (moment.coded()) tensors.push_back({name + ".scale", moment.scales});
  };
  for (const Slot& slot : slots_) {
    add(slot.parameter.name + ".exp_avg", slot.mean);
    add(slot.parameter.name + ".exp_avg_sq", slot.square);
  }
  return tensors;
}

int64_t AdamW::state_bytes() const {
  int64_t bytes = 0;
  for (const Parameter& tensor : state()) bytes += static_cast<int64_t>(tensor.value.nbytes());
  return bytes;
}

}  // namespace ringflash
