// The recipe: every number of a training run that is not the model's shape, under the names of Hugging Face's
// TrainingArguments where they have one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ringflash {

struct TrainConfig {
  int64_t max_steps = 1000;
  int64_t sequence_length = 1024;
  int64_t batch_size = 4;
  int64_t gradient_accumulation_steps = 1;
  int64_t sequence_parallel = 1;
  double learning_rate = 1e-4;
  std::string lr_scheduler_type = "cosine";
  double warmup_ratio = 0.05;
  double min_learning_rate_ratio = 0.1;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double adam_epsilon = 1e-8;
  double weight_decay = 0.1;
  int64_t optimizer_bits = 32;
  double max_grad_norm = 1.0;
  double spike_threshold = 12;
  int64_t max_bad_batches = 10;
  int64_t seed = 0;
  int64_t eval_steps = 250;
  int64_t eval_tokens = 65536;
  int64_t save_steps = 250;
  int64_t save_total_limit = 2;
  double heldout_fraction = 0.02;
  std::string mask_method = "magnitude";
  int64_t mask_interval = 0;
  double sparsity_begin_ratio = 0.5;
  double sparsity_end_ratio = 0.5;
  double mask_freeze_ratio = 0.8;
  double pruned_update_scale = 0.1;
  double sparse_rate_power = 1;
  double rigl_fraction = 0.3;
  double l1 = 0.01;
  double quantize_begin_ratio = 0.6;
  double distill_weight = 0.5;
  double distill_states_weight = 0;
  std::string activation_budget;
  std::string precision = "auto";
  std::string loss_scaling = "auto";
  double initial_loss_scale = 65536;
  int64_t loss_scale_growth_steps = 2000;
  std::string device = "cpu";

  bool scales_loss() const { return loss_scaling == "on" || (loss_scaling == "auto" && precision == "fp16"); }
  int64_t tokens_per_step() const { return sequence_length * batch_size * gradient_accumulation_steps; }
  bool operator==(const TrainConfig&) const = default;
};

/// Calls visit(key, field, help) for each field: the one list behind JSON, --set and --help.
template <typename Config, typename Visitor>
void visit_fields(Config& c, Visitor&& visit) {
  visit("max_steps", c.max_steps, "optimiser steps in all");
  visit("sequence_length", c.sequence_length, "tokens in a row");
  visit("batch_size", c.batch_size, "rows in a micro-batch");
  visit("gradient_accumulation_steps", c.gradient_accumulation_steps, "micro-batches in a step");
  visit("sequence_parallel", c.sequence_parallel, "processes that share each row, a slice of its tokens each; needs batch_size 1");
  visit("learning_rate", c.learning_rate, "AdamW's peak learning rate (with --preset tiny or nano 0.003, micro 0.002, small 0.0006)");
  visit("lr_scheduler_type", c.lr_scheduler_type, "how the rate falls after the warm-up: cosine, linear or constant");
  visit("warmup_ratio", c.warmup_ratio, "share of the steps in which the rate rises linearly");
  visit("min_learning_rate_ratio", c.min_learning_rate_ratio, "where the rate ends, relative to the peak");
  visit("adam_beta1", c.adam_beta1, "AdamW's decay of the mean gradient");
  visit("adam_beta2", c.adam_beta2, "AdamW's decay of the mean squared gradient");
  visit("adam_epsilon", c.adam_epsilon, "AdamW's epsilon");
  visit("weight_decay", c.weight_decay, "decoupled, on matrices only");
  visit("optimizer_bits", c.optimizer_bits,
        "of AdamW's two moments: 32, or 8 (block-wise; embedding, head and norms stay at 32)");
  visit("max_grad_norm", c.max_grad_norm, "gradients are scaled down to this norm; 0 leaves them alone");
  visit("spike_threshold", c.spike_threshold,
        "batches whose loss is so many deviations above the last ones' are skipped; 0 skips none");
  visit("max_bad_batches", c.max_bad_batches,
        "so many skipped ones in a row (spikes, and losses that are no numbers) end the run; three roll it back");
  visit("seed", c.seed, "of the initial weights and the order of the data");
  visit("eval_steps", c.eval_steps, "steps between held-out evaluations");
  visit("eval_tokens", c.eval_tokens, "held-out tokens looked at each time; 0 for all");
  visit("save_steps", c.save_steps, "steps between checkpoints");
  visit("save_total_limit", c.save_total_limit, "checkpoints kept");
  visit("heldout_fraction", c.heldout_fraction, "share of the documents held out");
  visit("mask_method", c.mask_method,
        "how sparse weights are chosen: magnitude, rigl, or static (drawn once at random)");
  visit("mask_interval", c.mask_interval, "steps between choices; 0: a 40th of the run, at most 1000");
  visit("sparsity_begin_ratio", c.sparsity_begin_ratio, "share of the steps after which weights begin to go");
  visit("sparsity_end_ratio", c.sparsity_end_ratio,
        "share of the steps after which as many are gone as shall be");
  visit("mask_freeze_ratio", c.mask_freeze_ratio, "share of the steps after which the choice is final");
  visit("pruned_update_scale", c.pruned_update_scale, "part of AdamW's update that absent weights receive");
  visit("sparse_rate_power", c.sparse_rate_power,
        "matrices of which 1 / n is left are trained with n to this power times the rate; 0: the same rate");
  visit("rigl_fraction", c.rigl_fraction,
        "share of the weights that RigL replaces at first; it falls with a cosine");
  visit("l1", c.l1, "decoupled L1 of sparse matrices: they shrink by the rate times this each step");
  visit("quantize_begin_ratio", c.quantize_begin_ratio,
        "share of the steps after which weights are trained as weight_bits will hold them");
  visit("distill_weight", c.distill_weight, "how much a --teacher's opinion counts against the text's, 0 to 1");
  visit("distill_states_weight", c.distill_states_weight,
        "beside that, how much it counts that layers return what the --teacher's do, whose shape must be the model's: their relative squared "
        "error is added so many times");
  visit("activation_budget", c.activation_budget, "what --activation-budget says; empty: activations are kept");
  visit("precision", c.precision, "of matrix products, beside fp32 weights: bf16, fp16, fp32, or auto (bf16 where the hardware has it)");
  visit("loss_scaling", c.loss_scaling, "by GradScaler's rules: on, off, or auto (with fp16)");
  visit("initial_loss_scale", c.initial_loss_scale, "what it begins with; halved by gradients that are not finite");
  visit("loss_scale_growth_steps", c.loss_scale_growth_steps, "good steps in a row after which it doubles");
  visit("device", c.device, "cpu or cuda");
}

/// Ranges; the error names the key.
Status validate(const TrainConfig& config);

/// Sets one field from text; the error names the key, the type expected and the text found. False if there is
/// no such key.
Result<bool> set_field(TrainConfig& config, std::string_view key, std::string_view value);

std::string train_config_to_json(const TrainConfig& config);
Result<TrainConfig> train_config_from_json(std::string_view text);

/// Linear warm-up, then down to the minimum ratio with a cosine (Loshchilov and Hutter 2017) or in a line, or no further
/// change. step counts from 0.
double learning_rate_at(const TrainConfig& config, int64_t step);

}  // namespace ringflash
