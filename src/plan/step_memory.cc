#include "plan/step_memory.h"

#include <algorithm>

#include "model/counts.h"
#include "plan/layer_macs.h"
#include "plan/layer_memory.h"
#include "plan/loss_slices.h"
#include "plan/memory_tape.h"

namespace ringflash {
namespace {

/// Numbers of logits that the loss works on at a time.
int64_t slice_numbers(const TrainingSetup& setup, bool fused) {
  const int64_t vocab = setup.model.vocab_size;
  const int64_t rows = fused ? fused_slice_rows(vocab, setup.model.hidden_size) : logits_slice_rows(vocab);
  return std::min(rows, setup.tokens()) * vocab;
}

// Costs of operations against bytes: a core's products and its memory, in their order of magnitude.
constexpr double kMacsPerSecond = 1e11, kBytesPerSecond = 1e10;

class Step {
 public:
  Step(const TrainingSetup& setup, const std::vector<Recompute>& levels) : setup_(setup), levels_(levels) {
    for (size_t l = 0; l < levels.size(); ++l) layers_.push_back(layer_memory(setup, static_cast<int64_t>(l)));
    const ModelConfig& model = setup.model;
    stream_ = setup.tokens() * model.hidden_size * kFloat;
    table_ = model.vocab_size * model.hidden_size;
  }

  StepMemory run() {
    StepMemory result;
    const int64_t gradients = setup_.accumulation > 1 ? count_parameters(setup_.model).total() * kFloat : 0;
    tape_.take(gradients);
    for (size_t l = 0; l < layers_.size(); ++l) forward(l);
    result.activations = tape_.live() - gradients;
    loss();
    for (size_t l = layers_.size(); l-- > 0;) backward(l);
    embedding();
    for (const LayerMemory& layer : layers_) result.scratch = std::max(result.scratch, layer.scratch);
    result.peak = tape_.peak();
    result.phase = tape_.peak_phase();
    return result;
  }

 private:
  void forward(size_t l);
  void loss();
  void backward(size_t l);
  void backward_mlp(const LayerMemory& layer);
  void backward_attention(const LayerMemory& layer);
  void backward_weight(const WeightMemory& weight);
  void embedding();

  const TrainingSetup& setup_;
  const std::vector<Recompute>& levels_;
  std::vector<LayerMemory> layers_;
  MemoryTape tape_;
  int64_t stream_, table_;  ///< bytes of the residual stream; numbers of the embedding
};

std::string of_layer(const char* what, size_t l) { return std::string(what) + " of layer " + std::to_string(l); }

void Step::forward(size_t l) {
  const LayerMemory& layer = layers_[l];
  tape_.enter(of_layer("forward", l));
  const int64_t before = layer.kept(levels_[l]);
  // While it runs a layer that will keep little still has most of one half.
  const int64_t attention = layer.attention_kept() + layer.attention_forward + layer.qkv.seeing;
  const int64_t mlp = layer.mlp_kept() + layer.compute + stream_ + layer.gate_up.seeing;
  const bool whole = levels_[l] >= Recompute::kAllButAttention;
  tape_.touch(std::max(attention, mlp + (whole ? 0 : before - std::min(before, layer.mlp_kept()))));
  tape_.take(before);
}

/// train/ops/linear_loss.cc: gradients are made on the way, and once more multiplied with the loss's.
void Step::loss() {
  tape_.enter("the loss");
  const int64_t table = table_ * kFloat, gradients = stream_ + table;
  tape_.take(stream_);  // the last norm's input
  tape_.take(stream_);  // and output
  const int64_t seen = setup_.compute_bytes < kFloat ? table_ * setup_.compute_bytes : 0;
  const bool fused = setup_.compute_bytes < kFloat && setup_.on_cpu;
  const int64_t slice = slice_numbers(setup_, fused) * (fused ? 2 * setup_.compute_bytes : 5 * kFloat);
  tape_.take(gradients);
  tape_.touch(seen + slice + table_ * setup_.compute_bytes);
  tape_.give(stream_);
  tape_.take(gradients);
  tape_.give(gradients);  // leaves the table's gradient, and the stream's
  tape_.touch(stream_);
  tape_.give(stream_);
}

/// Gradients of weights are made in the precision of products, then kept in fp32.
void Step::backward_weight(const WeightMemory& weight) {
  const bool rounded = setup_.compute_bytes < kFloat && !weight.packed;
  const bool added = setup_.accumulation > 1;
  tape_.take(weight.numbers * kFloat);
  tape_.touch(rounded ? weight.numbers * setup_.compute_bytes : 0);
  if (added) tape_.give(weight.numbers * kFloat);
  tape_.give(weight.seen);
}

void Step::backward_mlp(const LayerMemory& layer) {
  const int64_t compute = layer.compute;
  tape_.take(compute);                   // the output's gradient
  tape_.take(layer.inner);               // the inner one's
  backward_weight(layer.down);
  tape_.give(layer.inner + compute);
  tape_.take(2 * layer.inner);           // gate's and up's
  tape_.give(layer.gates + layer.inner);
  tape_.take(2 * compute);
  backward_weight(layer.gate_up);
  tape_.give(2 * layer.inner + 3 * compute);
  tape_.touch(2 * stream_);
  tape_.give(layer.stream + layer.post_normed);
}

void Step::backward_attention(const LayerMemory& layer) {
  tape_.take(layer.compute + layer.heads_out);
  backward_weight(layer.o);
  tape_.give(layer.compute + layer.heads_packed);
  tape_.touch(layer.attention_backward);
  tape_.take(layer.heads_in);
  tape_.give(layer.heads_in + layer.heads_out + layer.lse + layer.router + layer.logits);
  tape_.give(layer.heads_out);
  tape_.take(2 * layer.compute);
  backward_weight(layer.qkv);
  tape_.give(layer.heads_in + 3 * layer.compute);
  tape_.touch(2 * stream_);
  tape_.give(layer.stream + layer.post_normed);
}

void Step::backward(size_t l) {
  const LayerMemory& layer = layers_[l];
  tape_.enter(of_layer("backward", l));
  const int64_t missing = layer.kept(Recompute::kNothing) - layer.kept(levels_[l]);
  const bool whole = levels_[l] >= Recompute::kAllButAttention, nothing = levels_[l] == Recompute::kNothing;
  const int64_t of_attention = nothing || whole ? 0 : layer.attention_kept() - layer.attention_kept_cheaply();
  if (levels_[l] == Recompute::kLayer) tape_.touch(layer.attention_kept() + layer.attention_forward);
  tape_.take(missing - of_attention);
  backward_mlp(layer);
  tape_.take(of_attention);
  backward_attention(layer);
}

/// A tied one's two gradients meet.
void Step::embedding() {
  tape_.enter("backward of the embedding");
  tape_.touch(setup_.model.tie_word_embeddings ? 2 * table_ * kFloat : table_ * kFloat);
}

}  // namespace

StepMemory step_memory(const TrainingSetup& setup, const std::vector<Recompute>& levels) {
  return Step(setup, levels).run();
}

std::vector<LayerCosts> layer_costs(const TrainingSetup& setup) {
  std::vector<LayerCosts> costs(setup.model.attention.size());
  const LayerMacs layers(setup);
  for (size_t l = 0; l < costs.size(); ++l) {
    const auto layer = static_cast<int64_t>(l);
    const LayerMemory memory = layer_memory(setup, layer);
    const double macs = 3 * layers.forward(layer);
    for (size_t i = 0; i < kRecomputeLevels; ++i) {
      const auto level = static_cast<Recompute>(i);
      const int64_t bytes = memory.kept(level), given_up = memory.kept(Recompute::kNothing) - bytes;
      costs[l][i] = {bytes, (macs + layers.again(layer, level)) / kMacsPerSecond +
                                static_cast<double>(given_up) / kBytesPerSecond};
    }
  }
  return costs;
}

}  // namespace ringflash
