#include "train/bench_cases.h"

#include <cmath>
#include <memory>

#include "base/aligned.h"
#include "base/hash.h"
#include "base/rng.h"
#include "base/stopwatch.h"
#include "kernels/block_sparse.h"
#include "train/masks.h"
#include "train/causal_lm.h"
#include "train/ops/torch_executor.h"
#include "train/optimizer.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

using torch::Tensor;

torch::ScalarType compute_type() { return kernels::has_fast_bf16() ? torch::kBFloat16 : torch::kFloat32; }

Tensor draw(at::IntArrayRef shape, uint64_t seed, torch::ScalarType type) {
  return torch::randn(shape, at::detail::createCPUGenerator(seed), torch::TensorOptions(torch::kFloat32)).to(type);
}

float* slots(const Tensor& tensor) { return static_cast<float*>(tensor.data_ptr()); }

/// A layer with all its buffers there before it is timed, as oneDNN's are, but for what the products make for themselves.
class BlockLayer {
 public:
  BlockLayer(int64_t in, int64_t out, int64_t tokens, int64_t keep)
      : tokens_(tokens),
        mask_(random_mask(torch::zeros({out, in}), {SparsePattern::kBlock, keep}, 1)),
        tiles_(block_tiles(mask_)),
        weight_(draw({out, in}, 2, packed_type()).to(torch::kFloat32)),
        x_(draw({tokens, in}, 3, packed_type())),
        dy_(draw({tokens, out}, 4, packed_type())),
        y_(torch::zeros_like(dy_)),
        dx_(torch::zeros_like(x_)),
        gradient_(torch::empty({out, in})),
        x_packed_(pack_tokens(x_)),
        dy_packed_(pack_tokens(dy_)) {
    const kernels::BlockWeightSizes sizes = kernels::block_weight_sizes(tiles_->pattern, table_);
    forward_ = torch::zeros({sizes.forward});
    transposed_ = torch::zeros({sizes.transposed});
  }

  void run() {
    const kernels::BlockPattern& pattern = tiles_->pattern;
    const kernels::BlockWeights weights{slots(forward_), slots(transposed_)};
    TorchExecutor executor;
    kernels::pack_block_weights(pattern, slots(weight_), table_, executor, weights);
    kernels::block_forward(pattern, weights, {slots(x_packed_), slots(x_)}, tokens_, table_, executor, {nullptr, slots(y_)});
    kernels::block_backward_input(pattern, weights, {slots(dy_packed_), slots(dy_)}, tokens_, table_, executor,
                                  {nullptr, slots(dx_)});
    kernels::block_backward_weight(pattern, slots(x_packed_), slots(dy_packed_), kernels::token_tiles(tokens_), table_, executor,
                                   slots(gradient_));
  }

  /// The largest error of y, dx and the gradient, each relative to its largest number.
  double error() const {
    const auto wide = [](const Tensor& t) { return t.to(torch::kFloat64); };
    const Tensor w = wide(weight_) * mask_;
    const auto off = [&](const Tensor& got, const Tensor& want) {
      return ((wide(got) - want).abs().max() / want.abs().max()).item<double>();
    };
    const double y = off(y_, torch::matmul(wide(x_), w.t()));
    const double dx = off(dx_, torch::matmul(wide(dy_), w));
    const double gradient = off(gradient_, torch::matmul(wide(dy_).t(), wide(x_)) * mask_);
    return std::max({y, dx, gradient});
  }

 private:
  const kernels::Table& table_ = kernels::table();
  int64_t tokens_;
  Tensor mask_;
  BlockTilesPtr tiles_;
  Tensor weight_, x_, dy_, y_, dx_, gradient_, x_packed_, dy_packed_, forward_, transposed_;
};

class TrainingStep {
 public:
  TrainingStep(const ModelConfig& config, int64_t tokens)
      : model_(config, 1),
        optimizer_(parameters(model_), TrainConfig{}),
        ids_(torch::randint(config.vocab_size, {tokens}, torch::TensorOptions(torch::kInt64))),
        targets_(torch::roll(ids_, -1)),
        bounds_({0, tokens}) {
    if (config.sparsity.pattern != SparsePattern::kBlock) return;
    for (DecoderLayer& layer : model_->layers()) {
      const Attention& attention = layer->self_attn;
      const Mlp& mlp = layer->mlp;
      for (Linear linear : {attention->q_proj, attention->k_proj, attention->v_proj, attention->o_proj,
                                   mlp->gate_proj, mlp->up_proj, mlp->down_proj}) {
        linear->view().mask = random_mask(linear->weight, {SparsePattern::kBlock, config.sparsity.keep}, ++seed_);
        sparse_.push_back(linear);
      }
    }
    skip_tiles(true);
  }

  void run() {
    optimizer_.zero_grad();
    const double share = 1.0 / static_cast<double>(ids_.numel());
    (model_->loss_sum(ids_, targets_, bounds_, compute_type()) * share).backward();
    const double norm = optimizer_.grad_norm();
    optimizer_.step(1e-4, 1 / std::max(norm, 1.0));
  }

  /// How much skipping tiles changes the loss, relatively.
  double error() {
    torch::NoGradGuard no_grad;
    const auto loss = [&] { return model_->loss_sum(ids_, targets_, bounds_, compute_type()).item<double>(); };
    const double skipped = loss();
    skip_tiles(false);
    const double multiplied = loss();
    skip_tiles(true);
    return std::abs(skipped / multiplied - 1);
  }

 private:
  static std::vector<AdamW::Parameter> parameters(CausalLm& model) {
    std::vector<AdamW::Parameter> all;
    for (const auto& item : model->named_parameters()) all.push_back({item.key(), item.value()});
    return all;
  }

  void skip_tiles(bool skip) {
    for (Linear& linear : sparse_) linear->view().tiles = skip ? block_tiles(linear->view().mask) : BlockTilesPtr();
  }

  CausalLm model_;
  AdamW optimizer_;
  Tensor ids_, targets_;
  std::vector<int64_t> bounds_;
  std::vector<Linear> sparse_;
  uint64_t seed_ = 0;
};

/// Only where it changes something: libtorch starts the threads of another pool anew each time, which then spin.
void use_threads(int threads) {
  if (at::get_num_threads() != threads) at::set_num_threads(threads);
}

/// `thing.run()` timed, after a first run whose error() must be below `largest`.
template <typename Thing>
Result<BenchCase> checked(std::shared_ptr<Thing> thing, int threads, double largest, const char* what) {
  use_threads(threads);
  thing->run();
  const double error = thing->error();
  if (!(error < largest)) {
    return Error{std::string(what) + ": wrong by " + std::to_string(error) + ", allowed " + std::to_string(largest)};
  }
  return BenchCase([thing, threads] {
    use_threads(threads);
    const Stopwatch stopwatch;
    thing->run();
    return stopwatch.seconds();
  });
}

}  // namespace

Result<BenchCase> block_linear_case(int64_t in, int64_t out, int64_t tokens, int64_t keep, int threads) {
  // bf16 rounds results by 2^-9; sums in fp32 are far better.
  return checked(std::make_shared<BlockLayer>(in, out, tokens, keep), threads, 0x1p-8, "block-sparse layer");
}

Result<BenchCase> training_step_case(const ModelConfig& config, int64_t tokens, int threads) {
  // Two orders of summation, rounded to bf16 in every layer, move the mean loss of thousands of tokens but little.
  return checked(std::make_shared<TrainingStep>(config, tokens), threads, 2e-3, "training step");
}

}  // namespace ringflash
