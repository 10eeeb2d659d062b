#include "train/setup.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "format/checkpoint.h"
#include "format/config_json.h"
#include "format/config_keys.h"
#include "kernels/kernels.h"
#include "model/presets.h"
#include "train/checkpointing.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

constexpr std::array kResumable = {"max_steps",     "batch_size",    "gradient_accumulation_steps", "sequence_parallel",
                                   "learning_rate", "max_grad_norm", "activation_budget",           "eval_steps",
                                   "eval_tokens",   "save_steps",    "save_total_limit",            "device"};

/// Peak rates that suit the small presets; larger models keep the cautious default.
void adapt_to_preset(const std::string& preset, TrainConfig& recipe) {
  if (preset == "tiny" || preset == "nano") recipe.learning_rate = 3e-3;
  if (preset == "micro") recipe.learning_rate = 2e-3;
  if (preset == "small") recipe.learning_rate = 6e-4;
}

/// Written into the checkpoint, so that a run resumed on another machine goes on in the same precision.
void settle_precision(TrainConfig& recipe) {
  if (recipe.precision != "auto") return;
  recipe.precision = recipe.device != "cpu" || kernels::has_fast_bf16() ? "bf16" : "fp32";
}

/// Whether rows of this model can be cut into slices.
Status check_slices(const ModelConfig& model, const TrainConfig& recipe) {
  const int64_t tokens = recipe.sequence_length, slices = recipe.sequence_parallel;
  if (slices == 1) return {};
  const std::string is = "'sequence_parallel' is " + std::to_string(slices) + ": ";
  if (tokens % slices != 0) {
    return Error{is + "'sequence_length' must be a multiple of it, found " + std::to_string(tokens)};
  }
  if (recipe.device != "cpu") return Error{is + "'device' must be cpu, found " + recipe.device};
  if (!model.has_layers(AttentionKind::kRing)) return {};
  const RingGeometry& ring = model.ring;
  if (tokens / slices < ring.window + ring.stride) {
    return Error{is + "'sequence_length' must give each process a window and a stride at least, " +
                 std::to_string(slices * (ring.window + ring.stride)) + " in all, found " + std::to_string(tokens)};
  }
  if (ring.select == GlobalSelect::kTopPages) {
    return Error{is + "'global_select' must be all, for a query may lie in another process than the pages it chooses; found top_pages"};
  }
  return {};
}

Status apply_settings(const TrainRequest& request, RunSetup& setup) {
  std::vector<std::pair<std::string, std::string>> of_model;
  for (const auto& [key, value] : request.settings) {
    RF_TRY(const bool known, set_field(setup.recipe, key, value));
    if (!known) of_model.emplace_back(key, value);
  }
  RF_TRY_VOID(set_config_keys(setup.model, of_model));
  RF_TRY_VOID(require_causal(setup.model, "to be trained on next tokens"));
  RF_TRY_VOID(validate(setup.recipe));
  RF_TRY_VOID(check_slices(setup.model, setup.recipe));
  settle_precision(setup.recipe);
  return {};
}

/// The sequence length that is asked for, or 0.
Result<int64_t> asked_length(const TrainRequest& request) {
  TrainConfig recipe;
  recipe.sequence_length = 0;
  for (const auto& [key, value] : request.settings) {
    if (key == "sequence_length") RF_TRY_VOID(set_field(recipe, key, value));
  }
  return recipe.sequence_length;
}

/// A length brings its ring geometry along: the preset's is replaced, a file's completed, a checkpoint's kept.
/// Settings that follow may still change it.
Result<ModelConfig> starting_config(const TrainRequest& request, int64_t length) {
  if (request.from) {
    RF_TRY(const fs::path directory, resolve_checkpoint(*request.from));
    return load_config(directory / "config.json", length);
  }
  if (request.config) return load_config(*request.config, length);
  RF_TRY(ModelConfig model, preset_config(request.preset));
  if (length > 0) {
    model.max_position_embeddings = length;
    model.ring = ring_preset(length);
  }
  return model;
}

Result<RunSetup> set_up_new(const TrainRequest& request) {
  RunSetup setup;
  RF_TRY(const int64_t length, asked_length(request));
  RF_TRY(setup.model, starting_config(request, length));
  if (request.from) {
    RF_TRY(const fs::path directory, resolve_checkpoint(*request.from));
    setup.tokenizer = directory;
  } else if (!request.config) {
    adapt_to_preset(request.preset, setup.recipe);
  }
  setup.recipe.sequence_length = std::min<int64_t>(setup.model.max_position_embeddings, 1024);
  RF_TRY_VOID(apply_settings(request, setup));
  return setup;
}

/// The keys of two JSON objects whose values differ.
std::vector<std::string> changed_keys(const std::string& before, const std::string& after) {
  const nlohmann::json a = nlohmann::json::parse(before), b = nlohmann::json::parse(after);
  std::vector<std::string> keys;
  for (const auto& [key, value] : b.items()) {
    if (!a.contains(key) || a[key] != value) keys.push_back(key);
  }
  return keys;
}

Status check_resumed_settings(const RunSetup& saved, const RunSetup& wanted) {
  std::vector<std::string> changed = changed_keys(config_to_json(saved.model), config_to_json(wanted.model));
  for (std::string& key : changed_keys(train_config_to_json(saved.recipe), train_config_to_json(wanted.recipe))) {
    if (std::find(kResumable.begin(), kResumable.end(), key) == kResumable.end()) changed.push_back(std::move(key));
  }
  if (changed.empty()) return {};
  std::string names;
  for (const char* name : kResumable) names += (names.empty() ? "" : ", ") + std::string(name);
  return Error{"'" + changed.front() + "' cannot change when a run is resumed; only these can: " + names};
}

Result<RunSetup> set_up_resumed(const TrainRequest& request, const fs::path& checkpoint) {
  RunSetup setup;
  setup.resume_from = checkpoint;
  RF_TRY(setup.recipe, load_train_config(checkpoint));
  RF_TRY(setup.model, load_config(checkpoint / "config.json"));
  setup.tokenizer = checkpoint;
  const RunSetup saved = setup;
  RF_TRY_VOID(apply_settings(request, setup));
  RF_TRY_VOID(check_resumed_settings(saved, setup));
  return setup;
}

}  // namespace

Result<RunSetup> set_up_run(const TrainRequest& request) {
  const Result<fs::path> existing = resolve_checkpoint(request.out);
  if (existing && !request.resume) {
    return Error{request.out.string() + ": already holds a run (" + existing->filename().string() +
                 "); go on with --resume, or choose another --out"};
  }
  if (existing) return set_up_resumed(request, *existing);
  return set_up_new(request);
}

}  // namespace ringflash
