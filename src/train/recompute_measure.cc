#include "train/recompute_measure.h"

#include <algorithm>
#include <map>

#include "base/stopwatch.h"
#include "train/tensor_memory.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

constexpr int kRepeats = 3;  // after a first round that warms up

/// One run of a layer. Its input is kept at any level; its output is the next one's.
RecomputeCost run_once(DecoderLayer& layer, const Tensor& input, const std::vector<int64_t>& bounds,
                       torch::ScalarType compute) {
  const Tensor x = input.detach().requires_grad_(true);
  std::vector<Tensor> inputs = used_parameters(*layer);
  inputs.push_back(x);
  const Stopwatch stopwatch;
  const int64_t before = allocated_bytes();
  const Tensor y = layer(x, bounds, compute);
  const int64_t kept = allocated_bytes() - before;
  torch::autograd::grad({y}, inputs, {torch::ones_like(y)}, /*retain_graph=*/false, /*create_graph=*/false,
                        /*allow_unused=*/true);
  return {std::max<int64_t>(0, kept), stopwatch.seconds()};
}

/// The levels take turns, so that what slows the machine down for a while slows all of them.
LayerCosts measure_layer(DecoderLayer& layer, const Tensor& x, const std::vector<int64_t>& bounds,
                         torch::ScalarType compute) {
  const Recompute level_before = layer->recompute;
  LayerCosts costs;
  for (int round = 0; round <= kRepeats; ++round) {
    for (int level = 0; level < kRecomputeLevels; ++level) {
      layer->recompute = static_cast<Recompute>(level);
      RecomputeCost& cost = costs[static_cast<size_t>(level)];
      const RecomputeCost found = run_once(layer, x, bounds, compute);
      cost.bytes = std::max(cost.bytes, found.bytes);
      cost.seconds = round < 2 ? found.seconds : std::min(cost.seconds, found.seconds);
    }
  }
  layer->recompute = level_before;
  return costs;
}

}  // namespace

std::vector<LayerCosts> measure_recomputation(CausalLm& model, const Tensor& ids, const std::vector<int64_t>& bounds,
                                              torch::ScalarType compute) {
  const Tensor x = [&] {
    const torch::NoGradGuard no_grad;
    return model->embed(ids, bounds);
  }();
  std::map<AttentionKind, LayerCosts> of_kind;
  std::vector<LayerCosts> all;
  for (size_t l = 0; l < model->layers().size(); ++l) {
    const AttentionKind kind = model->config().attention[l];
    if (!of_kind.contains(kind)) of_kind[kind] = measure_layer(model->layers()[l], x, bounds, compute);
    all.push_back(of_kind[kind]);
  }
  return all;
}

void apply_levels(CausalLm& model, const std::vector<Recompute>& levels) {
  for (size_t l = 0; l < levels.size(); ++l) model->layers()[l]->recompute = levels[l];
}

}  // namespace ringflash
