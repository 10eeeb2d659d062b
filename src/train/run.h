// One training run in progress: the parts, and what is done to them each step.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "data/packed_rows.h"
#include "data/prepare.h"
#include "train/heldout.h"
#include "train/interrupt.h"
#include "train/metrics.h"
#include "train/causal_lm.h"
#include "train/optimizer.h"
#include "train/processes.h"
#include "train/progression.h"
#include "train/sequence_slice.h"
#include "train/setup.h"
#include "train/sparsifier.h"
#include "train/trainer.h"

namespace ringflash {

/// What matrix products run in, by the recipe's `precision`.
torch::ScalarType compute_type(const TrainConfig& recipe);

/// Says it on stderr unless the request is quiet.
void remark(const TrainRequest& request, const std::string& text);

class Run {
 public:
  /// `fresh`: the model's weights are drawn, not trained. `row_group`: the processes that share each row with this one.
  Run(const TrainRequest& request, Processes& processes, Processes& row_group, RunSetup setup, PreparedData data, CausalLm model,
      torch::Device device, bool fresh);

  /// Goes on from a checkpoint. An error where it was trained on other text.
  Status restore(const std::filesystem::path& checkpoint);

  /// Says so where steps of a resumed run have another size from here on: in another number of processes they do.
  void compare_step_size() const;

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
  std::filesystem::path checkpoint_;
  HeldoutMetrics heldout_{};
  Stopwatch session_, since_report_;
  double report_seconds_ = 0;  ///< that writing the last one took
  InterruptGuard interrupt_;
};

}  // namespace ringflash
