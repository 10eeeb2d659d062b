#include "train/sparsifier.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/hash.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

constexpr int64_t kUpdatesOfARun = 40;
constexpr int64_t kLongestInterval = 1000;

/// Below this share of active tiles it pays to compute them alone.
constexpr double kSparseEnough = 0.4;

/// Of an interval between updates, the last part in which absent tiles get gradients: a tenth.
constexpr int64_t kDensePart = 10;

int64_t step_at(double ratio, int64_t steps) {
  return std::llround(ratio * static_cast<double>(steps));
}

}  // namespace

MaskSchedule::MaskSchedule(const TrainConfig& c)
    : begin(step_at(c.sparsity_begin_ratio, c.max_steps)),
      end(step_at(c.sparsity_end_ratio, c.max_steps)),
      freeze(step_at(c.mask_freeze_ratio, c.max_steps)),
      interval(c.mask_interval > 0 ? c.mask_interval
                                   : std::clamp<int64_t>(c.max_steps / kUpdatesOfARun, 1, kLongestInterval)),
      quantize(step_at(c.quantize_begin_ratio, c.max_steps)) {}

int64_t MaskSchedule::keep_at(int64_t step, int64_t keep) const {
  if (step >= end) return keep;
  if (step <= begin) return kSparseGroup;
  const double left = 1 - static_cast<double>(step - begin) / static_cast<double>(end - begin);
  return keep + std::llround(static_cast<double>(kSparseGroup - keep) * left * left * left);
}

bool MaskSchedule::due(int64_t step) const {
  return step == end || (step >= begin && step <= freeze && step % interval == 0);
}

Sparsifier::Sparsifier(CausalLm model, AdamW& optimizer, const TrainConfig& config, bool fresh)
    : optimizer_(optimizer), config_(config), sparsity_(model->config().sparsity), schedule_(config) {
  for (const auto& module : model->named_modules()) {
    auto* linear = module.value()->as<LinearImpl>();
    if (linear == nullptr || linear->borrows() || module.key().ends_with(".router")) continue;
    const SparsePattern pattern = sparsity_.pattern_of(module.key() + ".weight");
    if (pattern == SparsePattern::kNone) continue;
    layers_.push_back(
        {module.key() + ".weight", Linear(std::static_pointer_cast<LinearImpl>(module.value())), pattern});
  }
  torch::NoGradGuard no_grad;
  const bool drawn = config_.mask_method != "magnitude";
  const double enlarged = std::sqrt(static_cast<double>(kSparseGroup) / static_cast<double>(sparsity_.keep));
  for (Layer& layer : layers_) {
    if (drawn && fresh) layer.linear->weight.mul_(enlarged);
    apply(layer, choose(layer, 0));
  }
  quantize_if_due(0);
  settle_gradients(0);
}

Tensor Sparsifier::choose(const Layer& layer, int64_t step) const {
  const Tensor& weight = layer.linear->weight;
  const Tensor& mask = layer.linear->view().mask;
  MaskShape shape{layer.pattern, sparsity_.keep};
  if (config_.mask_method == "magnitude") {
    shape.keep = schedule_.keep_at(step, sparsity_.keep);
    return magnitude_mask(weight, shape);
  }
  if (!mask.defined()) {
    return random_mask(weight, shape, hash_bytes(layer.name) + static_cast<uint64_t>(config_.seed));
  }
  if (config_.mask_method == "static") return mask;
  const double done = static_cast<double>(step) / static_cast<double>(std::max<int64_t>(schedule_.freeze, 1));
  const double fraction = config_.rigl_fraction / 2 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
  return rigl_mask(weight, weight.grad(), mask, shape, fraction);
}

void Sparsifier::apply(Layer& layer, const Tensor& mask) {
  const Tensor before = layer.linear->view().mask;
  layer.linear->view().mask = mask;
  if (config_.mask_method != "magnitude") {
    // Absent weights stay zero, so that those which come back start from nothing, moments included.
    layer.linear->weight.mul_(mask);
    if (before.defined()) optimizer_.reset_moments(layer.name, mask & ~before);
  }
  show(layer);
}

void Sparsifier::show(Layer& layer) {
  const Tensor& mask = layer.linear->view().mask;
  const auto kept = static_cast<double>(mask.sum().item<int64_t>());
  const double rate_scale = std::pow(static_cast<double>(mask.numel()) / kept, config_.sparse_rate_power);
  const double pruned_scale = config_.mask_method == "magnitude" ? config_.pruned_update_scale / rate_scale : 0;
  optimizer_.set_mask(layer.name, mask, {.rate_scale = rate_scale, .pruned_scale = pruned_scale, .l1 = config_.l1});
  const bool pays = layer.pattern == SparsePattern::kBlock && mask.device().is_cpu() &&
                    kept < kSparseEnough * static_cast<double>(mask.numel());
  layer.linear->view().tiles = pays ? block_tiles(mask) : BlockTilesPtr();
}

void Sparsifier::quantize_if_due(int64_t step) {
  if (step < schedule_.quantize) return;
  for (Layer& layer : layers_) {
    WeightView& view = layer.linear->view();
    if (layer.pattern != SparsePattern::kFine || view.mask.size(1) % kSparseGroup != 0) continue;  // exported as bf16
    view.bits = sparsity_.weight_bits;
    view.nonzeros = sparsity_.keep;
  }
}

/// The gradients of step `step` + 1: dense ones for tiles, where they may soon decide which of them come back.
void Sparsifier::settle_gradients(int64_t step) {
  const int64_t due = (step / schedule_.interval + 1) * schedule_.interval;  // the next update
  const bool near = due - step <= std::max<int64_t>(1, schedule_.interval / kDensePart);
  const bool dense = near && due <= schedule_.freeze && config_.mask_method != "static";
  for (Layer& layer : layers_) {
    layer.linear->view().tile_gradient = dense ? TileGradient::kDense : TileGradient::kActive;
  }
}

std::optional<MaskMetrics> Sparsifier::after_step(int64_t step) {
  if (!active()) return std::nullopt;
  quantize_if_due(step);
  settle_gradients(step);
  if (config_.mask_method == "static" || !schedule_.due(step)) return std::nullopt;
  torch::NoGradGuard no_grad;
  MaskMetrics metrics{.step = step};
  double energy = 0, kept_energy = 0;
  for (Layer& layer : layers_) {
    const Tensor before = layer.linear->view().mask;
    const Tensor squares = layer.linear->weight.square();
    const Tensor mask = choose(layer, step);
    apply(layer, mask);
    metrics.weights += mask.numel();
    metrics.kept += mask.sum().item<int64_t>();
    metrics.regrown += (mask & ~before).sum().item<int64_t>();
    metrics.pruned += (before & ~mask).sum().item<int64_t>();
    energy += squares.sum().item<double>();
    kept_energy += (squares * mask).sum().item<double>();
  }
  metrics.kept_energy = energy > 0 ? kept_energy / energy : 1;
  return metrics;
}

bool Sparsifier::settled(int64_t step) const {
  if (!active()) return true;
  const bool sparse = config_.mask_method != "magnitude" || step >= schedule_.end;
  return sparse && (sparsity_.weight_bits == 16 || step >= schedule_.quantize);
}

std::vector<AdamW::Parameter> Sparsifier::tensors() const {
  std::vector<AdamW::Parameter> tensors;
  for (const Layer& layer : layers_) {
    tensors.push_back({layer.name, layer.linear->weight});
    tensors.push_back({layer.name + kMaskSuffix, layer.linear->view().mask});
  }
  return tensors;
}

void Sparsifier::resume(int64_t step) {
  for (Layer& layer : layers_) show(layer);
  quantize_if_due(step);
  settle_gradients(step);
}

}  // namespace ringflash
