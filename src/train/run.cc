#include "train/run.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/peak_memory.h"
#include "base/progress.h"
#include "format/checkpoint.h"
#include "model/counts.h"
#include "report/run_report.h"
#include "train/checkpointing.h"
#include "train/recompute_measure.h"
#include "train/teacher.h"
#include "train/torch_headers.h"

namespace ringflash {

namespace fs = std::filesystem;

namespace {

/// Bad batches in a row after which the weights are taken for the cause.
constexpr int64_t kRollBackAfter = 3;

/// Of a run's time, what writing its report may take.
constexpr double kReportShare = 0.02;

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

}  // namespace

torch::ScalarType compute_type(const TrainConfig& recipe) {
  RF_CHECK(recipe.precision != "auto");
  if (recipe.precision == "fp16") return torch::kHalf;
  return recipe.precision == "bf16" ? torch::kBFloat16 : torch::kFloat32;
}

void remark(const TrainRequest& request, const std::string& text) {
  if (!request.quiet) std::fprintf(stderr, "%s\n", text.c_str());
}

Run::Run(const TrainRequest& request, Processes& processes, Processes& row_group, RunSetup setup, PreparedData data, CausalLm model,
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

Status Run::restore(const fs::path& checkpoint) {
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

void Run::compare_step_size() const {
  if (progression_.step == 0) return;
  const int64_t before = progression_.rows / progression_.step, now = tokens_per_step() / recipe_.sequence_length;
  if (before == now) return;
  remark(request_, "note: steps had " + std::to_string(before) + " rows so far and have " + std::to_string(now) +
                       " from here on; --set batch_size=... keeps their size");
}

Status Run::find_teacher() {
  const bool resumed = !checkpoint_.empty(), had_one = !progression_.teacher.empty();
  if (!request_.teacher && !had_one) return {};
  if (resumed && !had_one) return Error{"--teacher: " + checkpoint_.string() + " was trained without one"};
  const fs::path path = request_.teacher ? fs::absolute(*request_.teacher) : fs::path(progression_.teacher);
  Result<CausalLm> teacher = load_teacher(path, model_->config().vocab_size);
  if (!teacher) return request_.teacher ? teacher.error() : teacher.error().in("the run's teacher (--teacher if it moved)");
  const ModelConfig &own = model_->config(), &its = (*teacher)->config();
  const bool alike = own.hidden_size == its.hidden_size && own.num_hidden_layers == its.num_hidden_layers;
  if (recipe_.distill_states_weight > 0 && !alike) {
    return Error{"distill_states_weight: " + path.string() + " must have the model's hidden_size and num_hidden_layers, " +
                 std::to_string(own.hidden_size) + " and " + std::to_string(own.num_hidden_layers) + ", found " +
                 std::to_string(its.hidden_size) + " and " + std::to_string(its.num_hidden_layers)};
  }
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
  return model_->distillation_sum(*teacher_, {recipe_.distill_weight, recipe_.distill_states_weight}, batch.ids, batch.targets,
                                  batch.bounds, compute_);
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
  const std::string rolled_back = "rolled back to " + checkpoint_.string() + " after " + std::to_string(in_row) +
                                  " bad batches in a row, the last one at " + place;
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
  if (recipe_.activation_budget.empty()) return;
  const BatchTensors batch = own_part(order_.batch(progression_.rows, recipe_.batch_size));
  const SharedRows sharing(model_, teacher_, slice());
  const std::vector<LayerCosts> costs = measure_recomputation(model_, batch.ids, batch.bounds, compute_);
  const RecomputePlan plan = plan_recomputation(costs, parse_activation_budget(recipe_.activation_budget).value());
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

}  // namespace ringflash
