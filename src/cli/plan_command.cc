#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/in_quotes.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "format/checkpoint.h"
#include "format/config_keys.h"
#include "kernels/kernels.h"
#include "model/presets.h"
#include "plan/fit.h"

namespace ringflash::cli {
namespace {

using nlohmann::ordered_json;

std::string bytes_text(int64_t bytes) { return format_bytes(static_cast<uint64_t>(bytes)); }

/// The levels in words: "keep everything in 12 layers, again: the whole layer in 2".
std::string levels_text(const std::vector<Recompute>& levels) {
  std::string text;
  for (int i = 0; i < kRecomputeLevels; ++i) {
    const auto level = static_cast<Recompute>(i);
    const auto count = std::ranges::count(levels, level);
    if (count > 0) text += (text.empty() ? "" : "; ") + to_string(level) + " (" + std::to_string(count) + " layers)";
  }
  return text;
}

/// 2.5e12 -> "2.50 TFLOP".
std::string flops_text(double macs) {
  constexpr const char* kUnits[] = {"", "k", "M", "G", "T", "P", "E"};
  double flops = 2 * macs;
  size_t unit = 0;
  for (; flops >= 1000 && unit + 1 < std::size(kUnits); ++unit) flops /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, "%.2f %sFLOP", flops, kUnits[unit]);
  return text;
}

class PlanTable {
 public:
  void row(const char* what, const std::string& value, const std::string& working) {
    char line[256];
    std::snprintf(line, sizeof line, "%-32s %12s  %s\n", what, value.c_str(), working.c_str());
    text_ += line;
  }
  void row(const char* what, int64_t bytes, const std::string& working) { row(what, bytes_text(bytes), working); }
  void line(const std::string& text = "") { text_ += text + "\n"; }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

std::string settings_text(const TrainingSetup& setup) {
  return "sequence " + std::to_string(setup.sequence) + ", batch " + std::to_string(setup.batch) + ", accumulation " +
         std::to_string(setup.accumulation) + ", products in " + std::to_string(8 * setup.compute_bytes) +
         " bits, moments in " + std::to_string(setup.optimizer_bits) + ", " + std::to_string(setup.processes) +
         (setup.processes == 1 ? " process" : " processes") +
         (setup.slices == 1 ? "" : ", each row in " + std::to_string(setup.slices) + " slices");
}

void add_plan(const TrainingPlan& plan, PlanTable& table) {
  const TrainingSetup& setup = plan.setup;
  const ParameterCounts& counts = plan.parameters;
  const auto count = [](auto number) { return format_count(static_cast<double>(number)); };
  const std::string total = count(counts.total());
  char per_weight[32];
  std::snprintf(per_weight, sizeof per_weight, "%.2f",
                static_cast<double>(plan.moments) / static_cast<double>(counts.total()));
  table.line(settings_text(setup));
  table.line();
  table.row("parameters", total, count(counts.embedding) + " embedding and head, " + count(counts.linear) + " in matrices (" +
                                     count(counts.active_linear) + " active), " +
                                     count(counts.total() - counts.embedding - counts.linear) + " others");
  table.row("weights", plan.weights, "4 bytes each, fp32");
  table.row("gradients", plan.gradients, "4 bytes each, fp32, whole at the end of backward");
  table.row("moments", plan.moments, std::string(per_weight) + " bytes a parameter");
  if (plan.masks > 0) table.row("masks", plan.masks, "a byte for each weight that may be absent, and lists of tiles");
  table.row("activations", plan.activations, "kept for backward: " + levels_text(plan.levels));
  table.row("a step's most", plan.step, "gradients, activations and temporaries at once, in " + plan.phase);
  table.row("libraries", plan.libraries, "the program, libtorch and what they keep");
  table.row("scratch", plan.scratch, "buffers of our kernels, which stay");
  table.row("peak of a process", plan.peak(), "weights + moments + masks + a step's most + libraries + scratch");
  table.line();
  table.row("cache", plan.cache, "of the runtime, one sequence of " + std::to_string(setup.sequence));
  table.row("a step", flops_text(plan.macs + plan.macs_again),
            count(setup.step_tokens()) + " tokens, backward counted twice; of it computed again " + flops_text(plan.macs_again));
}

/// The options of `ringflash train` that make a setup the attempt's.
std::string train_options(const FitAttempt& attempt) {
  const TrainingSetup& setup = attempt.plan.setup;
  std::string text = "--seq " + std::to_string(setup.sequence);
  const auto set = [&](const char* key, const std::string& value) { text += std::string(" --set ") + key + "=" + value; };
  if (attempt.budget < 100) text += " --activation-budget " + std::to_string(attempt.budget) + "%";
  if (setup.optimizer_bits != 32) set("optimizer_bits", std::to_string(setup.optimizer_bits));
  set("batch_size", std::to_string(setup.batch));
  if (setup.accumulation > 1) set("gradient_accumulation_steps", std::to_string(setup.accumulation));
  set("precision", setup.compute_bytes == 2 ? "bf16" : "fp32");
  if (setup.slices > 1) set("sequence_parallel", std::to_string(setup.slices));
  if (!setup.on_cpu) text += " --device cuda";
  return text;
}

void add_answer(const Fit& fit, int64_t memory, PlanTable& table) {
  const int64_t usable = usable_memory(memory);
  table.line();
  table.line("Does it fit " + bytes_text(memory) + ", " + std::to_string(std::lround(100 * kSpareMemory)) + " % kept free?");
  for (const FitAttempt& attempt : fit.attempts) {
    const std::string verdict = attempt.fits ? "fits" : bytes_text(attempt.plan.peak() - usable) + " too much";
    table.row(("  " + attempt.change).c_str(), attempt.plan.peak(), verdict);
  }
  const TrainingPlan& plan = fit.plan();
  if (fit.fits) {
    table.line("Yes, with " + settings_text(plan.setup) + "; " + levels_text(plan.levels) + ":");
    table.line("  ringflash train ... " + train_options(fit.attempts.back()));
    return;
  }
  const int64_t standing = plan.weights + plan.gradients + plan.moments;
  table.line("No. With all of these settings it takes " + bytes_text(plan.peak()) + ", of which weights, gradients and moments are " +
             bytes_text(standing) + ".");
  if (fit.layers_that_fit > 0) {
    table.line("With the same settings " + std::to_string(fit.layers_that_fit) + " of its " +
               std::to_string(plan.setup.model.num_hidden_layers) + " layers fit: " +
               format_count(static_cast<double>(fit.parameters_that_fit)) + " parameters.");
  }
}

ordered_json to_json(const TrainingPlan& plan) {
  std::vector<int> levels;
  for (const Recompute level : plan.levels) levels.push_back(static_cast<int>(level));
  return {{"sequence", plan.setup.sequence},
          {"batch", plan.setup.batch},
          {"accumulation", plan.setup.accumulation},
          {"compute_bits", 8 * plan.setup.compute_bytes},
          {"optimizer_bits", plan.setup.optimizer_bits},
          {"processes", plan.setup.processes},
          {"sequence_parallel", plan.setup.slices},
          {"parameters", plan.parameters.total()},
          {"active_parameters", plan.parameters.total() - plan.parameters.linear + plan.parameters.active_linear},
          {"recompute_levels", levels},
          {"bytes",
           {{"weights", plan.weights},
            {"gradients", plan.gradients},
            {"moments", plan.moments},
            {"masks", plan.masks},
            {"activations", plan.activations},
            {"step", plan.step},
            {"libraries", plan.libraries},
            {"scratch", plan.scratch},
            {"peak", plan.peak()},
            {"cache", plan.cache}}},
          {"peak_phase", plan.phase},
          {"step_tokens", plan.setup.step_tokens()},
          {"step_flops", 2 * (plan.macs + plan.macs_again)},
          {"recomputed_flops", 2 * plan.macs_again}};
}

ordered_json to_json(const Fit& fit, int64_t memory) {
  ordered_json attempts = ordered_json::array();
  for (const FitAttempt& attempt : fit.attempts) {
    attempts.push_back({{"change", attempt.change}, {"peak", attempt.plan.peak()}, {"fits", attempt.fits}});
  }
  return {{"memory", memory},
          {"fits", fit.fits},
          {"attempts", attempts},
          {"train_options", fit.fits ? ordered_json(train_options(fit.attempts.back()))
                                     : ordered_json(nullptr)},
          {"layers_that_fit", fit.fits ? ordered_json(nullptr) : ordered_json(fit.layers_that_fit)},
          {"parameters_that_fit", fit.fits ? ordered_json(nullptr) : ordered_json(fit.parameters_that_fit)},
          {"plan", to_json(fit.plan())}};
}

class PlanCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  Result<std::optional<ActivationBudget>> budget() const;
  Result<std::optional<int64_t>> memory() const;
  Result<ModelConfig> model() const;
  Result<TrainingSetup> setup() const;

  std::string preset_ = "small", config_, precision_ = "bf16", device_ = "cpu", mask_method_ = "magnitude";
  std::string memory_text_, activation_budget_;
  std::vector<std::string> settings_;
  int64_t sequence_ = 0, batch_ = 1, accumulation_ = 1, optimizer_bits_ = 32, processes_ = 1, slices_ = 1;
};

void PlanCommand::add_options(CLI::App& app) {
  constexpr int64_t kMostRows = 1 << 20;
  const auto count = [&](const char* name, int64_t& value, const char* help, int64_t most) {
    app.add_option(name, value, help)->transform(whole_number(1, most))->capture_default_str();
  };
  app.add_option("--preset", preset_, "Shape of the model: tiny, nano, micro or small")->capture_default_str();
  app.add_option("--config", config_, "A config.json, or a checkpoint's folder, instead of a preset")->type_name("PATH");
  app.add_option("--set", settings_, "key=value of config.json; may be repeated");
  count("--seq", sequence_, "Tokens in a row; by default the model's longest", int64_t{1} << 24);
  count("--batch", batch_, "Rows in a micro-batch", kMostRows);
  count("--accumulation", accumulation_, "Micro-batches in a step", kMostRows);
  count("--processes", processes_, "That train one model together", 65536);
  count("--sequence-parallel", slices_, "Processes that share each row", 65536);
  app.add_option("--precision", precision_, "Of matrix products")->check(CLI::IsMember({"bf16", "fp16", "fp32"}))->capture_default_str();
  app.add_option("--optimizer-bits", optimizer_bits_, "Of AdamW's moments")->check(CLI::IsMember({8, 32}))->capture_default_str();
  app.add_option("--mask-method", mask_method_, "Of sparse models: magnitude begins with all weights")
      ->check(CLI::IsMember({"magnitude", "rigl", "static"}))
      ->capture_default_str();
  app.add_option("--activation-budget", activation_budget_, "As train takes it: 3G, 40%");
  app.add_option("--device", device_, "cpu or cuda")->check(CLI::IsMember({"cpu", "cuda"}))->capture_default_str();
  app.add_option("--memory", memory_text_, "What there is, as in 40G: says whether training fits, and with which settings");
}

Result<ModelConfig> PlanCommand::model() const {
  ModelConfig config;
  if (config_.empty()) {
    RF_TRY(config, preset_config(preset_));
    if (sequence_ > 0) config.ring = ring_preset(sequence_);
    config.max_position_embeddings = std::max(config.max_position_embeddings, sequence_);
  } else {
    const std::filesystem::path path(config_);
    RF_TRY(config, load_config(std::filesystem::is_directory(path) ? path / "config.json" : path, sequence_));
  }
  std::vector<std::pair<std::string, std::string>> keys;
  for (const std::string& setting : settings_) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) return Error{"--set takes key=value, found " + in_quotes(setting)};
    keys.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  RF_TRY_VOID(set_config_keys(config, keys));
  RF_TRY_VOID(require_causal(config, "to be trained on next tokens"));
  return config;
}

Result<TrainingSetup> PlanCommand::setup() const {
  TrainingSetup setup;
  RF_TRY(setup.model, model());
  setup.sequence = sequence_ > 0 ? sequence_ : setup.model.max_position_embeddings;
  setup.batch = batch_;
  setup.accumulation = accumulation_;
  setup.compute_bytes = precision_ == "fp32" ? 4 : 2;
  setup.optimizer_bits = optimizer_bits_;
  setup.begins_dense = mask_method_ == "magnitude";
  setup.packed_bytes = kernels::table().key_type == kernels::KeyType::kBf16 ? 2 : 4;
  setup.on_cpu = device_ == "cpu";
  setup.processes = processes_;
  setup.slices = slices_;
  if (processes_ % slices_ != 0 || setup.sequence % slices_ != 0) {
    return Error{"--sequence-parallel must divide --processes and --seq, found " + std::to_string(slices_) + " with " +
                 std::to_string(processes_) + " and " + std::to_string(setup.sequence)};
  }
  if (slices_ > 1 && batch_ > 1) return Error{"--sequence-parallel needs --batch 1, found " + std::to_string(batch_)};
  return setup;
}

Result<std::optional<ActivationBudget>> PlanCommand::budget() const {
  if (activation_budget_.empty()) return std::optional<ActivationBudget>();
  Result<ActivationBudget> parsed = parse_activation_budget(activation_budget_);
  if (!parsed) return parsed.error().in("--activation-budget");
  return std::optional(*parsed);
}

Result<std::optional<int64_t>> PlanCommand::memory() const {
  if (memory_text_.empty()) return std::optional<int64_t>();
  Result<int64_t> parsed = parse_bytes(memory_text_);
  if (!parsed) return parsed.error().in("--memory");
  return std::optional(*parsed);
}

Status PlanCommand::check() const {
  if (const auto parsed = budget(); !parsed) return parsed.error();
  if (const auto parsed = memory(); !parsed) return parsed.error();
  return {};
}

Status PlanCommand::run(const CommonOptions& common) {
  RF_TRY(const TrainingSetup setup, this->setup());
  RF_TRY(const std::optional<ActivationBudget> budget, this->budget());
  RF_TRY(const std::optional<int64_t> memory, this->memory());
  const TrainingPlan plan = plan_training(setup, budget);
  std::optional<Fit> fit;
  if (memory) fit = fit_memory(setup, *memory);
  if (common.json) {
    ordered_json json = to_json(plan);
    if (fit) json["fit"] = to_json(*fit, *memory);
    return write_json(json);
  }
  PlanTable table;
  add_plan(plan, table);
  if (fit) add_answer(*fit, *memory, table);
  return write_stdout(table.text());
}

}  // namespace

std::unique_ptr<Command> make_plan_command() {
  return std::make_unique<PlanCommand>();
}

}  // namespace ringflash::cli
