#include "train/trainer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/flush_denormals.h"
#include "base/hash.h"
#include "base/peak_memory.h"
#include "base/progress.h"
#include "base/stopwatch.h"
#include "base/thread_pool.h"
#include "data/packed_rows.h"
#include "data/prepare.h"
#include "format/checkpoint.h"
#include "model/counts.h"
#include "model/presets.h"
#include "report/run_report.h"
#include "text/tokenizer_files.h"
#include "train/checkpointing.h"
#include "train/heldout.h"
#include "train/interrupt.h"
#include "train/metrics.h"
#include "train/modules.h"
#include "train/optimizer.h"
#include "train/processes.h"
#include "train/recompute_measure.h"
#include "train/sequence_slice.h"
#include "train/setup.h"
#include "train/sparsifier.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

torch::ScalarType compute_type(const TrainConfig& recipe) {
  RF_CHECK(recipe.precision != "auto");
  if (recipe.precision == "fp16") return torch::kHalf;
  return recipe.precision == "bf16" ? torch::kBFloat16 : torch::kFloat32;
}

/// libtorch says what it can multiply on a device only by trying.
Status check_precision(const TrainConfig& recipe, torch::Device device) {
  try {
    const auto options = torch::TensorOptions(compute_type(recipe)).device(device).requires_grad(true);
    const torch::Tensor x = torch::ones({2, 2}, options);
    torch::silu(torch::linear(x, x)).sum().backward();
    return {};
  } catch (const c10::Error&) {
    return Error{"'precision' is " + recipe.precision + ", which this libtorch cannot train in on 'device' " +
                 recipe.device + "; bf16 and fp32 it can"};
  }
}

Result<torch::Device> open_device(const std::string& name) {
  if (name == "cuda" && !torch::cuda::is_available()) {
    return Error{"'device' is cuda, but this libtorch sees no CUDA device"};
  }
  return torch::Device(name);
}

/// Bad batches in a row after which the weights are taken for the cause.
constexpr int64_t kRollBackAfter = 3;

/// Of a run's time, what writing its report may take.
constexpr double kReportShare = 0.02;

void remark(const TrainRequest& request, const std::string& text) {
  if (!request.quiet) std::fprintf(stderr, "%s\n", text.c_str());
}

/// While it lives, models work on a slice of each row, if there is one.
class SharedRows {
 public:
  SharedRows(CausalLm& model, CausalLm& teacher, const SequenceSlice* slice) : models_{model, teacher} { share(slice); }
  ~SharedRows() { share(nullptr); }
  SharedRows(const SharedRows&) = delete;
  SharedRows& operator=(const SharedRows&) = delete;

 private:
  void share(const SequenceSlice* slice) {
    for (CausalLm& model : models_) {
      if (!model.is_empty()) model->share_rows(slice);
    }
  }

  std::array<CausalLm, 2> models_;
};

/// One run in progress: the parts, and what is done to them each step.
class Run {
 public:
  /// `fresh`: the model's weights are drawn, not trained. `row_group`: the processes that share each row with this one.
  Run(const TrainRequest& request, Processes& processes, Processes& row_group, RunSetup setup, PreparedData data, CausalLm model,
      torch::Device device, bool fresh)
      : request_(request),
        processes_(processes),
        recipe_(setup.recipe),
        slice_(row_group, recipe_.sequence_length),
        data_(std::move(data)),
        model_(std::move(model)),
        device_(device),
        compute_(compute_type(recipe_)),
        optimizer_(parameters_of(model_), recipe_),
        sparsifier_(model_, optimizer_, recipe_, fresh),
        order_(data_.train, recipe_.sequence_length, static_cast<uint64_t>(recipe_.seed)),
        piece_bytes_(piece_bytes(data_.vocabulary)) {
    progression_.data = data_.train.fingerprint();
    progression_.scaler.scale = recipe_.initial_loss_scale;
  }

  Status restore(const fs::path& checkpoint) {
    RF_TRY_VOID(load_weights(checkpoint, model_));
    const uint64_t data = progression_.data;
    RF_TRY(progression_, load_trainer_state(checkpoint, optimizer_, sparsifier_));
    if (progression_.data != data) {
      return Error{checkpoint.string() + ": was trained on other text than --data now holds; go on with the same " +
                   "text, or start a new run with --from " + checkpoint.string()};
    }
    checkpoint_ = checkpoint;
    return {};
  }

  /// The teacher that is asked for or that the resumed run has, if any. Errors: it is another one than before, it is
  /// not there, or does not fit the model.
  Status find_teacher();

  Result<TrainReport> train();

 private:
  struct StepResult {
    double loss, grad_norm;
    double loss_scale;  ///< that the gradients were computed with; grad_norm is without it
    bool stop;          ///< a process was asked to
  };
  StepResult compute_gradients();
  Result<bool> overflowed(const StepResult& result, MetricsLog& log);
  /// Takes batches until one is good.
  Result<StepResult> step(double learning_rate, MetricsLog& log);
  Status skip_batch(const std::string& wrong, MetricsLog& log);
  torch::Tensor loss_sum(const BatchTensors& batch);
  std::vector<PackedBatch> take_batches();
  std::vector<Recompute> first_ones(const std::vector<Recompute>& levels);
  void plan_activations();
  Status evaluate(MetricsLog& log);
  Status save();
  Status keep_if_best();
  Result<TrainReport> take_steps(MetricsLog& log);
  void write_report(bool at_once);
  TrainReport report(bool interrupted) const;
  double step_macs(const ModelConfig& model) const;
  double loss_scale() const { return recipe_.scales_loss() ? progression_.scaler.scale : 1; }
  double seconds() const { return progression_.seconds + session_.seconds(); }

  Result<MetricsLog> open_log() const;
  /// Groups of processes, each of which takes rows of its own.
  int64_t row_groups() const { return processes_.size() / recipe_.sequence_parallel; }
  int64_t tokens_per_step() const { return row_groups() * recipe_.tokens_per_step(); }
  const SequenceSlice* slice() const { return recipe_.sequence_parallel > 1 ? &slice_ : nullptr; }
  BatchTensors own_part(const PackedBatch& batch) const;

  const TrainRequest& request_;
  Processes& processes_;
  TrainConfig recipe_;
  SequenceSlice slice_;  ///< of the rows that processes share; all of them where they do not
  PreparedData data_;
  CausalLm model_;
  CausalLm teacher_{nullptr};
  torch::Device device_;
  torch::ScalarType compute_;
  AdamW optimizer_;
  Sparsifier sparsifier_;
  PackedRows order_;
  std::vector<int32_t> piece_bytes_;
  Progression progression_;
  fs::path checkpoint_;
  HeldoutMetrics heldout_{};
  Stopwatch session_, since_report_;
  double report_seconds_ = 0;  ///< that writing the last one took
  InterruptGuard interrupt_;
};

std::vector<PackedBatch> Run::take_batches() {
  std::vector<PackedBatch> batches;
  for (int64_t i = 0; i < recipe_.gradient_accumulation_steps; ++i) {
    const int64_t group = processes_.rank() / recipe_.sequence_parallel;
    batches.push_back(order_.batch(progression_.rows + group * recipe_.batch_size, recipe_.batch_size));
    progression_.rows += row_groups() * recipe_.batch_size;
  }
  return batches;
}

/// Of a row that is shared, the slice's tokens and all of the documents' edges.
BatchTensors Run::own_part(const PackedBatch& batch) const {
  BatchTensors tensors = to_tensors(batch, device_);
  if (slice() == nullptr) return tensors;
  return {slice_.of(tensors.ids), slice_.of(tensors.targets), std::move(tensors.bounds)};
}

torch::Tensor Run::loss_sum(const BatchTensors& batch) {
  if (teacher_.is_empty()) return model_->loss_sum(batch.ids, batch.targets, batch.bounds, compute_);
  return model_->distillation_sum(*teacher_, recipe_.distill_weight, batch.ids, batch.targets, batch.bounds, compute_);
}

/// The mean over all processes' targets.
Run::StepResult Run::compute_gradients() {
  std::vector<BatchTensors> batches;
  torch::Tensor targets = torch::zeros({1}, torch::kFloat64);
  for (const PackedBatch& batch : take_batches()) {
    batches.push_back(own_part(batch));
    targets += batches.back().targets.ge(0).sum().item<int64_t>();
  }
  const SharedRows sharing(model_, teacher_, slice());
  processes_.sum(targets);
  const double per_target = 1.0 / std::max(targets.item<double>(), 1.0);
  optimizer_.zero_grad();
  double nats = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    const torch::Tensor loss = loss_sum(batches[i]);
    if (i + 1 == batches.size()) processes_.begin_summing(model_->parameters());
    (loss * (per_target * loss_scale())).backward();
    nats += loss.item<double>();
  }
  processes_.finish_summing();
  torch::Tensor totals = torch::tensor({nats, interrupt_.requested() ? 1.0 : 0.0}, torch::kFloat64);
  processes_.sum(totals);
  return {totals[0].item<double>() * per_target, optimizer_.grad_norm() / loss_scale(), loss_scale(),
          totals[1].item<double>() > 0};
}

/// Whether the loss scale alone is to blame for gradients that are not finite: then it is smaller the next time, and the
/// batch no bad one.
Result<bool> Run::overflowed(const StepResult& result, MetricsLog& log) {
  if (!recipe_.scales_loss()) return false;
  const bool finite = std::isfinite(result.grad_norm), to_blame = result.loss_scale > 1 && std::isfinite(result.loss);
  progression_.scaler.update(finite, recipe_.loss_scale_growth_steps);
  if (finite || !to_blame) return false;
  RF_TRY_VOID(log.write(SkippedBatch{progression_.step, progression_.rows * recipe_.sequence_length,
                                     "gradients overflow at a loss scale of " + std::to_string(result.loss_scale)}));
  return true;
}

Result<Run::StepResult> Run::step(double learning_rate, MetricsLog& log) {
  while (true) {
    const StepResult result = compute_gradients();
    RF_TRY(const bool too_large, overflowed(result, log));
    if (too_large) continue;
    const std::string wrong = progression_.guard.judge(result.loss, result.grad_norm, recipe_.spike_threshold);
    if (wrong.empty()) {
      const bool clip = recipe_.max_grad_norm > 0 && result.grad_norm > recipe_.max_grad_norm;
      optimizer_.step(learning_rate, (clip ? recipe_.max_grad_norm / result.grad_norm : 1.0) / result.loss_scale);
      ++progression_.step;
      return result;
    }
    RF_TRY_VOID(skip_batch(wrong, log));
  }
}

Status Run::skip_batch(const std::string& wrong, MetricsLog& log) {
  const int64_t in_row = progression_.guard.bad_in_row;
  const std::string place = "step " + std::to_string(progression_.step + 1) + ": " + wrong;
  RF_TRY_VOID(log.write(SkippedBatch{progression_.step, progression_.rows * recipe_.sequence_length, wrong}));
  if (in_row >= recipe_.max_bad_batches) {
    return Error{place + ", in " + std::to_string(in_row) + " batches in a row; go on from " +
                 (checkpoint_.empty() ? "the start" : checkpoint_.string()) +
                 " with --resume and a lower --set learning_rate=..."};
  }
  remark(request_, place + "; the batch is skipped");
  if (in_row != kRollBackAfter || checkpoint_.empty()) return {};
  // The weights themselves have gone astray: back to where they were saved, but on with the text.
  const Progression ahead = progression_;
  RF_TRY_VOID(restore(checkpoint_));
  progression_.rows = ahead.rows;
  progression_.guard.bad_in_row = in_row;
  progression_.best_heldout = ahead.best_heldout;
  progression_.best_step = ahead.best_step;
  RF_TRY(log, open_log());
  const std::string rolled_back = "rolled back to " + checkpoint_.string();
  RF_TRY_VOID(log.write(SkippedBatch{progression_.step, progression_.rows * recipe_.sequence_length, rolled_back}));
  remark(request_, rolled_back);
  return {};
}

/// The first process's levels: what runs again in one sharer of a row must in all of them.
std::vector<Recompute> Run::first_ones(const std::vector<Recompute>& levels) {
  torch::Tensor numbers = torch::zeros({static_cast<int64_t>(levels.size())}, torch::kInt64);
  for (size_t l = 0; l < levels.size() && processes_.first(); ++l) numbers[static_cast<int64_t>(l)] = static_cast<int64_t>(levels[l]);
  processes_.sum(numbers);
  std::vector<Recompute> first(levels.size());
  for (size_t l = 0; l < levels.size(); ++l) first[l] = static_cast<Recompute>(numbers[static_cast<int64_t>(l)].item<int64_t>());
  return first;
}

void Run::plan_activations() {
  if (!request_.activation_budget) return;
  const BatchTensors batch = own_part(order_.batch(progression_.rows, recipe_.batch_size));
  const SharedRows sharing(model_, teacher_, slice());
  const std::vector<LayerCosts> costs = measure_recomputation(model_, batch.ids, batch.bounds, compute_);
  const RecomputePlan plan = plan_recomputation(costs, *request_.activation_budget);
  apply_levels(model_, first_ones(plan.levels));
  remark(request_, describe(plan, costs));
  if (!plan.fits) remark(request_, "the activation budget is too small for this model and sequence: as little is kept as can be");
}

/// The first process writes; the others compute the same.
Result<MetricsLog> Run::open_log() const {
  if (!processes_.first()) return MetricsLog::none();
  return MetricsLog::open(request_.out / "metrics.jsonl", progression_.step);
}

Status Run::evaluate(MetricsLog& log) {
  if (!processes_.first()) return {};
  heldout_ = evaluate_heldout(model_, data_.heldout, recipe_.sequence_length, recipe_.batch_size,
                              recipe_.eval_tokens, piece_bytes_, compute_, device_);
  heldout_.step = progression_.step;
  if (progression_.step == 0) progression_.first_heldout = heldout_.bits_per_byte;
  RF_TRY_VOID(log.write(heldout_));
  return keep_if_best();
}

/// What a run starts from needs no keeping.
Status Run::keep_if_best() {
  const bool better = !progression_.best_heldout || heldout_.loss < *progression_.best_heldout;
  if (progression_.step == 0 || !better || !sparsifier_.settled(progression_.step)) return {};
  RF_TRY_VOID(save_best(request_.out, model_, sparsifier_, data_.tokenizer));
  progression_.best_heldout = heldout_.loss;
  progression_.best_step = progression_.step;
  return {};
}

Status Run::save() {
  Progression saved = progression_;
  saved.seconds = seconds();
  if (processes_.first()) {
    RF_TRY_VOID(save_checkpoint(request_.out, model_, optimizer_, sparsifier_, saved, recipe_, data_.tokenizer));
  }
  processes_.wait_for_all();
  RF_TRY(checkpoint_, resolve_checkpoint(request_.out));
  return {};
}

double Run::step_macs(const ModelConfig& model) const {
  const auto rows = static_cast<double>(tokens_per_step() / recipe_.sequence_length);
  return 3 * rows * forward_macs(model, recipe_.sequence_length);
}

TrainReport Run::report(bool interrupted) const {
  return {.checkpoint = checkpoint_,
          .steps = progression_.step,
          .tokens = progression_.rows * recipe_.sequence_length,
          .parameters = count_parameters(model_->config()).total(),
          .step_macs = step_macs(model_->config()),
          .dense_step_macs = step_macs(dense_twin(model_->config())),
          .optimizer_bytes = optimizer_.state_bytes(),
          .seconds = seconds(),
          .first_bits_per_byte = progression_.first_heldout,
          .last_bits_per_byte = heldout_.bits_per_byte,
          .last_accuracy = heldout_.accuracy,
          .best = progression_.best_heldout ? request_.out / "best" : fs::path(),
          .best_heldout = progression_.best_heldout.value_or(0),
          .best_step = progression_.best_step,
          .interrupted = interrupted,
          .first_process = processes_.first()};
}

/// A long log takes its time to read, and shall not take the run's: a report waits unless it is due `at_once`. One
/// that cannot be written ends no run.
void Run::write_report(bool at_once) {
  if (!processes_.first()) return;
  if (!at_once && since_report_.seconds() < report_seconds_ / kReportShare) return;
  const Stopwatch writing;
  if (const Status written = write_run_report(request_.out, request_.out / kReportFile); !written) {
    remark(request_, "no report: " + written.error().message);
  }
  report_seconds_ = writing.seconds();
  since_report_ = Stopwatch();
}

Result<TrainReport> Run::train() {
  RF_TRY(MetricsLog log, open_log());
  session_ = Stopwatch();
  RF_TRY_VOID(evaluate(log));  // the untrained model's, or where a resumed run stands
  Result<TrainReport> done = take_steps(log);
  write_report(/*at_once=*/true);
  return done;
}

Result<TrainReport> Run::take_steps(MetricsLog& log) {
  plan_activations();
  Progress progress("training", recipe_.max_steps, request_.quiet);
  progress.update(progression_.step);
  while (progression_.step < recipe_.max_steps) {
    const double rate = learning_rate_at(recipe_, progression_.step);
    const Stopwatch stopwatch;
    RF_TRY(const StepResult result, step(rate, log));
    const double tokens_per_s = static_cast<double>(tokens_per_step()) / stopwatch.seconds();
    RF_TRY_VOID(log.write(StepMetrics{progression_.step, result.loss, rate, result.grad_norm,
                                      progression_.rows * recipe_.sequence_length, tokens_per_s, seconds(),
                                      peak_memory(),
                                      recipe_.scales_loss() ? std::optional(result.loss_scale) : std::nullopt}));
    if (const auto moved = sparsifier_.after_step(progression_.step)) RF_TRY_VOID(log.write(*moved));
    char note[96];
    std::snprintf(note, sizeof note, "loss %.3f  held-out %.3f bits/byte  %s tok/s", result.loss,
                  heldout_.bits_per_byte, format_count(tokens_per_s).c_str());
    progress.update(progression_.step, note);

    const bool last = progression_.step == recipe_.max_steps;
    const bool stop = result.stop;
    const bool evaluates = last || stop || progression_.step % recipe_.eval_steps == 0;
    const bool saves = last || stop || progression_.step % recipe_.save_steps == 0;
    if (evaluates) RF_TRY_VOID(evaluate(log));
    if (saves) RF_TRY_VOID(save());
    if (evaluates || saves) write_report(/*at_once=*/false);
    if (stop && !last) {
      progress.finish();
      return report(/*interrupted=*/true);
    }
  }
  return report(/*interrupted=*/false);
}

Result<CausalLm> load_teacher(const fs::path& path, int64_t vocab_size) {
  RF_TRY(const fs::path directory, resolve_checkpoint(path));
  RF_TRY(const ModelConfig config, load_config(directory / "config.json"));
  if (config.vocab_size != vocab_size) {
    return Error{directory.string() + ": a teacher's 'vocab_size' must be the model's, " + std::to_string(vocab_size) +
                 ", found " + std::to_string(config.vocab_size)};
  }
  CausalLm teacher(config, /*seed=*/0);
  RF_TRY_VOID(load_weights(directory, teacher));
  return teacher;
}

/// Of names, shapes and values.
uint64_t hash_weights(const CausalLm& model) {
  uint64_t hash = 0;
  for (const auto& [name, value] : parameters_of(model)) {
    const std::string_view bytes(static_cast<const char*>(value.data_ptr()), value.nbytes());
    hash = hash_bytes(bytes, hash_bytes(name, hash));
  }
  return hash;
}

Status Run::find_teacher() {
  const bool resumed = !checkpoint_.empty(), had_one = !progression_.teacher.empty();
  if (!request_.teacher && !had_one) return {};
  if (resumed && !had_one) return Error{"--teacher: " + checkpoint_.string() + " was trained without one"};
  const fs::path path = request_.teacher ? fs::absolute(*request_.teacher) : fs::path(progression_.teacher);
  Result<CausalLm> teacher = load_teacher(path, model_->config().vocab_size);
  if (!teacher) return request_.teacher ? teacher.error() : teacher.error().in("the run's teacher (--teacher if it moved)");
  const uint64_t hash = hash_weights(*teacher);
  if (had_one && hash != progression_.teacher_hash) {
    return Error{"--teacher: " + path.string() + " has other weights than the teacher of this run, which was " +
                 progression_.teacher};
  }
  progression_.teacher = path.string();
  progression_.teacher_hash = hash;
  teacher_ = std::move(teacher).value();
  teacher_->to(device_);
  return {};
}

std::string describe(const RunSetup& setup, const PreparedData& data) {
  const ParameterCounts counts = count_parameters(setup.model);
  return "model: " + format_count(static_cast<double>(counts.total())) + " parameters (" +
         format_count(static_cast<double>(counts.total() - counts.embedding)) +
         " besides the embedding); data: " + format_count(static_cast<double>(data.train.tokens())) +
         " tokens to train on, " + format_count(static_cast<double>(data.heldout.tokens())) + " held out; " +
         std::to_string(setup.recipe.max_steps) + " steps of " +
         std::to_string(setup.recipe.tokens_per_step()) + " tokens in " +
         setup.recipe.precision;
}

std::string describe_ring(const ModelConfig& model) {
  if (!model.has_layers(AttentionKind::kRing)) return "none";
  const std::string preset = ring_preset_name(model.ring);
  return ring_summary(model.ring) + (preset.empty() ? " (no preset)" : " (the preset " + preset + ")");
}

}  // namespace

Result<TrainReport> run_training(const TrainRequest& whole_request) {
  const FlushDenormals flush;  // libtorch's threads, started from here on, inherit it
  RF_TRY(const ProcessPlace place, process_place());
  TrainRequest request = whole_request;
  request.quiet = request.quiet || place.rank > 0;
  RF_TRY(RunSetup setup, set_up_run(request));
  RF_TRY(const torch::Device device, open_device(setup.recipe.device));
  if (request.activation_budget && !device.is_cpu()) {
    return Error{"--activation-budget measures the CPU's memory and needs device=cpu, found " + setup.recipe.device};
  }
  RF_TRY_VOID(check_precision(setup.recipe, device));
  // Said even where it is all of them: libtorch's own default depends on how it was built.
  at::set_num_threads(request.threads > 0 ? request.threads : std::max(1, usable_processors() / place.local_size));
  RF_TRY(Processes processes, Processes::join(place));
  const auto sharers = static_cast<int>(setup.recipe.sequence_parallel);
  if (place.size % sharers != 0) {
    return Error{"'sequence_parallel' is " + std::to_string(sharers) + ", which does not divide the " +
                 std::to_string(place.size) + " processes (WORLD_SIZE)"};
  }
  RF_TRY(Processes row_group, processes.part(sharers));
  PrepareOptions options{.paths = request.data,
                         .directory = request.out / "data",
                         .vocab_size = setup.model.vocab_size,
                         .sequence_length = setup.recipe.sequence_length,
                         .heldout_fraction = setup.recipe.heldout_fraction,
                         .tokenizer = setup.tokenizer,
                         .threads = at::get_num_threads(),
                         .quiet = request.quiet};
  if (!processes.first()) processes.wait_for_all();  // what the first has prepared is there for all
  RF_TRY(PreparedData data, prepare_data(options));
  if (processes.first()) processes.wait_for_all();
  if (static_cast<int64_t>(data.vocabulary.pieces.size()) != setup.model.vocab_size) {
    return Error{data.tokenizer.string() + ": the tokenizer has " +
                 std::to_string(data.vocabulary.pieces.size()) + " pieces, but 'vocab_size' is " +
                 std::to_string(setup.model.vocab_size)};
  }
  const bool same_ends = data.vocabulary.bos_id == setup.model.bos_token_id &&
                         data.vocabulary.eos_id == setup.model.eos_token_id;
  // Other models' config.json often names another end than the one that tokenizer_config.json does.
  if (has_sentencepiece_model(data.tokenizer) && !same_ends) {
    return Error{data.tokenizer.string() +
                 ": the tokenizer's ids for the start and end of a text are " +
                 std::to_string(data.vocabulary.bos_id) + " and " + std::to_string(data.vocabulary.eos_id) +
                 ", but 'bos_token_id' and 'eos_token_id' are " + std::to_string(setup.model.bos_token_id) +
                 " and " + std::to_string(setup.model.eos_token_id)};
  }
  CausalLm model(setup.model, static_cast<uint64_t>(setup.recipe.seed));
  model->to(device);
  remark(request, describe(setup, data));
  if (processes.size() > 1) {
    const std::string share = sharers == 1 ? std::to_string(setup.recipe.batch_size) + " rows of a batch"
                                           : "one of " + std::to_string(sharers) + " slices of a row";
    remark(request, std::to_string(processes.size()) + " processes, each of them " + share);
  }
  remark(request, "ring: " + describe_ring(setup.model));

  const std::optional<fs::path> resume_from = setup.resume_from;
  if (!resume_from && request.from) {
    RF_TRY(const fs::path directory, resolve_checkpoint(*request.from));
    RF_TRY_VOID(load_weights(directory, model));
  }
  const bool fresh = !resume_from && !request.from;
  Run run(request, processes, row_group, std::move(setup), std::move(data), std::move(model), device, fresh);
  if (resume_from) {
    RF_TRY_VOID(run.restore(*resume_from));
    remark(request, "resuming from " + resume_from->string());
  }
  RF_TRY_VOID(run.find_teacher());
  return run.train();
}

}  // namespace ringflash
