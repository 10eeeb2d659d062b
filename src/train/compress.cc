#include "train/compress.h"

#include <algorithm>
#include <deque>
#include <span>

#include "base/file.h"
#include "base/flush_denormals.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "data/packed_rows.h"
#include "format/checkpoint.h"
#include "kernels/kernels.h"
#include "model/counts.h"
#include "model/tensors.h"
#include "text/tokenizer.h"
#include "train/checkpointing.h"
#include "train/heldout.h"
#include "train/causal_lm.h"
#include "train/one_shot.h"
#include "train/ops/weight_view.h"
#include "train/torch_headers.h"
#include "train/trainer.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr int64_t kLongestRow = 1024;
constexpr int64_t kHeldoutShare = 8;  // one row in so many is kept back to measure on

/// Rows of the calibration text, each with its targets, to calibrate and to measure on.
struct Calibration {
  std::vector<BatchTensors> rows, heldout;
};

Result<Calibration> read_calibration(const CompressRequest& request, const Checkpoint& checkpoint) {
  RF_TRY(const std::string text, read_file(request.calib));
  RF_TRY(const Tokenizer tokenizer, Tokenizer::create(checkpoint.vocabulary));
  const int64_t length = std::min(checkpoint.config.max_position_embeddings, kLongestRow);
  const auto most_bytes = static_cast<size_t>(request.calib_tokens) * 16;
  const std::vector<int32_t> ids = tokenizer.encode(std::string_view(text).substr(0, most_bytes));
  const int64_t tokens = std::min<int64_t>(std::ssize(ids), request.calib_tokens);
  const int64_t rows = tokens / length;
  if (rows < 2) {
    return Error{request.calib.string() + ": expected at least " + std::to_string(2 * length) +
                 " tokens to calibrate and measure on, found " + std::to_string(tokens)};
  }
  const int64_t heldout = std::max<int64_t>(1, rows / kHeldoutShare);
  Calibration calibration;
  for (int64_t row = 0; row < rows; ++row) {
    const int32_t* first = ids.data() + row * length;
    PackedBatch batch{
        .inputs = {checkpoint.vocabulary.bos_id}, .targets = {first, first + length}, .bounds = {0, length}};
    batch.inputs.insert(batch.inputs.end(), first, first + length - 1);
    auto& kind = row < rows - heldout ? calibration.rows : calibration.heldout;
    kind.push_back(to_tensors(batch, torch::kCPU));
  }
  return calibration;
}

double mean_loss(CausalLm& model, const std::vector<BatchTensors>& rows, torch::ScalarType compute) {
  torch::NoGradGuard no_grad;
  double nats = 0, tokens = 0;
  for (const BatchTensors& row : rows) {
    nats += model->loss_sum(row.ids, row.targets, row.bounds, compute).item<double>();
    tokens += static_cast<double>(row.targets.numel());
  }
  return nats / tokens;
}

/// Of the drift of a layer's inputs, what its weights make up for: all of it would be taken from the calibration text's
/// noise as well (QEP's choice).
constexpr double kDriftStrength = 0.5;

/// What each weight of consecutive layers is given, in all layers of these that share it, while it lives: by the model
/// compressed so far and, where it `compares`, of the same tokens by the dense one before.
class InputObserver {
 public:
  InputObserver(std::span<DecoderLayer> layers, size_t first, bool compares) : compares_(compares) {
    for (size_t l = 0; l < layers.size(); ++l) {
      for (const auto& module : layers[l]->named_modules()) {
        auto* linear = module.value()->as<LinearImpl>();
        if (linear == nullptr || module.key().ends_with("router")) continue;
        observe(*linear, layer_tensor(static_cast<int64_t>(first + l), module.key() + ".weight"));
      }
    }
  }
  ~InputObserver() {
    for (LinearImpl* linear : observed_) linear->observer = nullptr;
  }
  InputObserver(const InputObserver&) = delete;
  InputObserver& operator=(const InputObserver&) = delete;

  struct Matrix {
    std::string name;
    Tensor weight;
    Tensor gram, drift;  ///< sums of x^T x and, where it compares, (x_dense - x)^T x
  };
  std::deque<Matrix>& matrices() { return matrices_; }

  /// Whose inputs come next.
  void expect(bool dense) { dense_ = dense; }

 private:
  void observe(LinearImpl& linear, const std::string& name) {
    if (!linear.borrows()) {
      const int64_t in = linear.weight.size(1);
      matrices_.push_back({name, linear.weight, torch::zeros({in, in}), compares_ ? torch::zeros({in, in}) : Tensor()});
    }
    const auto matrix = std::ranges::find_if(matrices_, [&](const Matrix& each) { return each.weight.is_same(linear.weight); });
    RF_CHECK(matrix != matrices_.end());
    linear.observer = [this, sums = &*matrix, dense = Tensor()](const Tensor& x) mutable {
      const Tensor inputs = x.to(torch::kFloat32);
      if (dense_) {
        dense = inputs;
        return;
      }
      sums->gram.addmm_(inputs.t(), inputs);
      if (!compares_) return;
      sums->drift.addmm_((dense - inputs).t(), inputs);
      dense = Tensor();
    };
    observed_.push_back(&linear);
  }

  bool compares_, dense_ = false;
  std::deque<Matrix> matrices_;
  std::vector<LinearImpl*> observed_;
};

void compress_observed(InputObserver& observed, const SparsityConfig& sparsity, OneShotMethod method) {
  torch::NoGradGuard no_grad;
  for (InputObserver::Matrix& matrix : observed.matrices()) {
    const SparsePattern pattern = sparsity.pattern_of(matrix.name);
    if (pattern == SparsePattern::kNone) continue;
    Tensor& weight = matrix.weight;
    const bool quantised = pattern == SparsePattern::kFine && weight.size(1) % kSparseGroup == 0;
    const OneShotTarget target{.shape = {pattern, sparsity.keep},
                               .bits = quantised ? sparsity.weight_bits : 16};
    const Tensor aim = matrix.drift.defined() ? made_up_for_drift(weight, matrix.gram, matrix.drift, kDriftStrength) : weight;
    weight.copy_(compress_matrix(aim, matrix.gram, target, method));
  }
}

void compress_layers(CausalLm& model, const Calibration& calibration, const SparsityConfig& sparsity,
                     OneShotMethod method, torch::ScalarType compute, bool quiet) {
  torch::NoGradGuard no_grad;
  std::vector<Tensor> dense, hidden;  // what comes to a layer in the dense model, and in the compressed one
  for (const BatchTensors& row : calibration.rows) hidden.push_back(model->embed(row.ids, row.bounds));
  const bool compares = method == OneShotMethod::kObs;
  if (compares) dense = hidden;
  const std::span<DecoderLayer> all = model->layers();
  const auto group = static_cast<size_t>(model->config().sharing.group_size);  // of layers compressed together
  Progress progress("compressing", std::ssize(all), quiet);
  for (size_t first = 0; first < all.size(); first += group) {
    progress.update(static_cast<int64_t>(first), "layer " + std::to_string(first));
    const auto layers = all.subspan(first, std::min(group, all.size() - first));
    const auto through_layers = [&](Tensor x, size_t row) {
      for (DecoderLayer& layer : layers) x = layer(x, calibration.rows[row].bounds, compute);
      return x;
    };
    {
      InputObserver observed(layers, first, compares);
      for (size_t row = 0; row < hidden.size(); ++row) {
        if (compares) {
          observed.expect(/*dense=*/true);
          dense[row] = through_layers(dense[row], row);
          observed.expect(/*dense=*/false);
        }
        through_layers(hidden[row], row);
      }
      compress_observed(observed, sparsity, method);
    }
    for (size_t row = 0; row < hidden.size(); ++row) hidden[row] = through_layers(hidden[row], row);
  }
  progress.finish();
}

/// The weights as an exported file holds them.
void round_weights(CausalLm& model, const SparsityConfig& sparsity) {
  torch::NoGradGuard no_grad;
  if (sparsity.weight_bits == 16) return;
  for (auto& [name, value] : parameters_of(model)) {
    const bool matrix = name.ends_with("proj.weight") && value.size(1) % kSparseGroup == 0;
    if (!matrix || sparsity.pattern_of(name) != SparsePattern::kFine) continue;
    value.copy_(quantized_weight(value, sparsity.weight_bits, sparsity.keep));
  }
}

/// Trains the compressed model with its masks as they are; the dense one tells it what to say.
Status heal(const CompressRequest& request, const fs::path& compressed) {
  TrainRequest training;
  training.data = request.data.empty() ? std::vector{request.calib} : request.data;
  training.out = request.out;
  training.from = compressed;
  training.teacher = request.from;
  training.threads = request.threads;
  training.quiet = request.quiet;
  training.settings = {{"max_steps", std::to_string(request.heal_steps)},
                       {"learning_rate", "5e-4"},
                       {"adam_beta2", "0.95"},
                       {"sparsity_begin_ratio", "0"},
                       {"sparsity_end_ratio", "0"},
                       {"quantize_begin_ratio", "0"},
                       {"sparse_rate_power", "0"},
                       {"l1", "0"}};
  training.settings.insert(training.settings.end(), request.heal_settings.begin(), request.heal_settings.end());
  const Result<TrainReport> report = run_training(training);
  if (!report) return report.error();
  return {};
}

}  // namespace

Result<CompressReport> compress_model(const CompressRequest& request) {
  const FlushDenormals flush;
  const Stopwatch stopwatch;
  RF_TRY(const OneShotMethod method, parse_one_shot_method(request.method));
  RF_TRY_VOID(validate(request.sparsity));
  std::error_code error;
  if (fs::exists(request.out, error)) {
    return Error{request.out.string() + ": expected a folder that does not exist yet, found one"};
  }
  RF_TRY(const Checkpoint checkpoint, open_checkpoint(request.from));
  RF_TRY(const Calibration calibration, read_calibration(request, checkpoint));
  at::set_num_threads(request.threads > 0 ? request.threads : usable_processors());
  const auto compute = kernels::has_fast_bf16() ? torch::kBFloat16 : torch::kFloat32;

  ModelConfig config = checkpoint.config;
  config.sparsity = request.sparsity;
  CausalLm model(config, /*seed=*/0);
  RF_TRY_VOID(load_weights(checkpoint.directory, model));
  CompressReport report;
  for (const BatchTensors& row : calibration.rows) report.tokens += row.ids.numel();
  const ParameterCounts counts = count_parameters(config);
  report.linear_weights = counts.linear;
  report.active_weights = counts.active_linear;
  report.loss_before = mean_loss(model, calibration.heldout, compute);
  compress_layers(model, calibration, request.sparsity, method, compute, request.quiet);
  report.loss_after = mean_loss(model, calibration.heldout, compute);

  report.checkpoint = report.one_shot = request.heal_steps > 0 ? request.out / "one-shot" : request.out;
  RF_TRY_VOID(save_model(report.checkpoint, model, checkpoint.directory));
  if (request.heal_steps > 0) {
    RF_TRY_VOID(heal(request, report.checkpoint));
    RF_TRY(report.checkpoint, resolve_checkpoint(request.out));
    RF_TRY_VOID(load_weights(report.checkpoint, model));
    round_weights(model, request.sparsity);
    report.loss_healed = mean_loss(model, calibration.heldout, compute);
  }
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace ringflash
