#include "train/train_config.h"

#include <charconv>
#include <cmath>
#include <initializer_list>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numbers>
#include <type_traits>

#include "plan/recompute_plan.h"

namespace ringflash {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 40;
constexpr int64_t kMaxStepTokens = int64_t{1} << 28;

template <typename Number>
Status parse_number(std::string_view key, std::string_view text, Number& field) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), field);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return Error{"'" + std::string(key) + "' must be " +
               (std::is_integral_v<Number> ? "an integer" : "a number") + ", found '" + std::string(text) +
               "'"};
}

Status parse_field(std::string_view key, std::string_view text, int64_t& field) {
  return parse_number(key, text, field);
}
Status parse_field(std::string_view key, std::string_view text, double& field) {
  return parse_number(key, text, field);
}
Status parse_field(std::string_view, std::string_view text, std::string& field) {
  field = text;
  return {};
}

bool has_type(const nlohmann::json& value, const int64_t&) {
  return value.is_number_integer();
}
bool has_type(const nlohmann::json& value, const double&) {
  return value.is_number();
}
bool has_type(const nlohmann::json& value, const std::string&) {
  return value.is_string();
}

Status check_counts(const TrainConfig& c) {
  const std::pair<const char*, int64_t> counts[] = {
      {"max_steps", c.max_steps},
      {"sequence_length", c.sequence_length},
      {"batch_size", c.batch_size},
      {"gradient_accumulation_steps", c.gradient_accumulation_steps},
      {"sequence_parallel", c.sequence_parallel},
      {"eval_steps", c.eval_steps},
      {"save_steps", c.save_steps},
      {"save_total_limit", c.save_total_limit},
      {"max_bad_batches", c.max_bad_batches},
      {"loss_scale_growth_steps", c.loss_scale_growth_steps},
  };
  for (const auto& [key, value] : counts) {
    if (value < 1 || value > kMaxCount) {
      return Error{"'" + std::string(key) + "' must be between 1 and " + std::to_string(kMaxCount) +
                   ", found " + std::to_string(value)};
    }
  }
  if (c.sequence_length > kMaxStepTokens / c.batch_size ||
      c.sequence_length * c.batch_size > kMaxStepTokens / c.gradient_accumulation_steps) {
    return Error{"'sequence_length' times 'batch_size' times 'gradient_accumulation_steps' must be at most " +
                 std::to_string(kMaxStepTokens) + " tokens"};
  }
  if (c.sequence_parallel > 1 && c.batch_size != 1) {
    return Error{"'batch_size' must be 1 where 'sequence_parallel' is not, found " + std::to_string(c.batch_size)};
  }
  if (c.eval_tokens < 0) return Error{"'eval_tokens' must not be negative"};
  if (c.mask_interval < 0) return Error{"'mask_interval' must not be negative"};
  return {};
}

Status check_ratios(const TrainConfig& c) {
  struct Range {
    const char* key;
    double value, low, high;
  };
  const Range ranges[] = {
      {"learning_rate", c.learning_rate, 0, 10},
      {"warmup_ratio", c.warmup_ratio, 0, 1},
      {"min_learning_rate_ratio", c.min_learning_rate_ratio, 0, 1},
      {"adam_beta1", c.adam_beta1, 0, 0.999999},
      {"adam_beta2", c.adam_beta2, 0, 0.999999},
      {"adam_epsilon", c.adam_epsilon, 1e-20, 1},
      {"weight_decay", c.weight_decay, 0, 100},
      {"max_grad_norm", c.max_grad_norm, 0, 1e9},
      {"spike_threshold", c.spike_threshold, 0, 1e9},
      {"initial_loss_scale", c.initial_loss_scale, 1, 0x1p100},
      {"heldout_fraction", c.heldout_fraction, 1e-6, 0.5},
      {"sparsity_begin_ratio", c.sparsity_begin_ratio, 0, 1},
      {"sparsity_end_ratio", c.sparsity_end_ratio, c.sparsity_begin_ratio, 1},
      {"mask_freeze_ratio", c.mask_freeze_ratio, c.sparsity_end_ratio, 1},
      {"pruned_update_scale", c.pruned_update_scale, 0, 1},
      {"sparse_rate_power", c.sparse_rate_power, 0, 2},
      {"rigl_fraction", c.rigl_fraction, 0, 1},
      {"l1", c.l1, 0, 1000},
      {"distill_weight", c.distill_weight, 0, 1},
      {"distill_states_weight", c.distill_states_weight, 0, 1e6},
      {"quantize_begin_ratio", c.quantize_begin_ratio, c.sparsity_end_ratio, 1},
  };
  for (const Range& r : ranges) {
    if (r.value >= r.low && r.value <= r.high) continue;
    return Error{"'" + std::string(r.key) + "' must be between " + nlohmann::json(r.low).dump() + " and " +
                 nlohmann::json(r.high).dump() + ", found " + std::to_string(r.value)};
  }
  return {};
}

Status check_choice(const char* key, const std::string& value, std::initializer_list<const char*> choices) {
  std::string names;
  for (const char* choice : choices) {
    if (value == choice) return {};
    names += (names.empty() ? "" : choice == *std::prev(choices.end()) ? " or " : ", ") + std::string(choice);
  }
  return Error{"'" + std::string(key) + "' must be " + names + ", found '" + value + "'"};
}

}  // namespace

Status validate(const TrainConfig& config) {
  RF_TRY_VOID(check_counts(config));
  RF_TRY_VOID(check_ratios(config));
  RF_TRY_VOID(check_choice("precision", config.precision, {"auto", "bf16", "fp16", "fp32"}));
  RF_TRY_VOID(check_choice("loss_scaling", config.loss_scaling, {"auto", "on", "off"}));
  RF_TRY_VOID(check_choice("lr_scheduler_type", config.lr_scheduler_type, {"cosine", "linear", "constant"}));
  RF_TRY_VOID(check_choice("mask_method", config.mask_method, {"magnitude", "rigl", "static"}));
  RF_TRY_VOID(check_choice("device", config.device, {"cpu", "cuda"}));
  if (!config.activation_budget.empty()) {
    const Result<ActivationBudget> budget = parse_activation_budget(config.activation_budget);
    if (!budget) return budget.error().in("'activation_budget'");
    if (config.device != "cpu") {
      return Error{"'activation_budget' measures the CPU's memory: 'device' must be cpu, found " + config.device};
    }
  }
  if (config.optimizer_bits != 32 && config.optimizer_bits != 8) {
    return Error{"'optimizer_bits' must be 32 or 8, found " + std::to_string(config.optimizer_bits)};
  }
  return {};
}

Result<bool> set_field(TrainConfig& config, std::string_view key, std::string_view value) {
  bool found = false;
  Status status;
  visit_fields(config, [&](std::string_view name, auto& field, const char*) {
    if (name != key) return;
    found = true;
    status = parse_field(key, value, field);
  });
  if (!status) return status.error();
  return found;
}

std::string train_config_to_json(const TrainConfig& config) {
  nlohmann::ordered_json json;
  visit_fields(config, [&](const char* key, const auto& field, const char*) { json[key] = field; });
  return json.dump(2) + "\n";
}

Result<TrainConfig> train_config_from_json(std::string_view text) {
  const nlohmann::json json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error{"expected a JSON object"};
  TrainConfig config;
  Status status;
  visit_fields(config, [&](const char* key, auto& field, const char*) {
    if (!json.contains(key) || !status) return;
    if (!has_type(json[key], field)) {
      status = Error{"'" + std::string(key) + "' has the wrong type: " + json[key].dump()};
      return;
    }
    json[key].get_to(field);
  });
  if (!status) return status.error();
  RF_TRY_VOID(validate(config));
  return config;
}

double learning_rate_at(const TrainConfig& config, int64_t step) {
  const double warmup = std::ceil(config.warmup_ratio * static_cast<double>(config.max_steps));
  const double done = static_cast<double>(step);
  if (done < warmup) return config.learning_rate * (done + 1) / warmup;
  if (config.lr_scheduler_type == "constant") return config.learning_rate;
  const double span = std::max(1.0, static_cast<double>(config.max_steps) - warmup);
  const double passed = std::min(1.0, (done - warmup) / span);
  const double left =
      config.lr_scheduler_type == "linear" ? 1 - passed : 0.5 * (1 + std::cos(std::numbers::pi * passed));
  return config.learning_rate * (config.min_learning_rate_ratio + (1 - config.min_learning_rate_ratio) * left);
}

}  // namespace ringflash
