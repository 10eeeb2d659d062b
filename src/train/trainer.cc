#include "train/trainer.h"

#include <algorithm>

#include "base/flush_denormals.h"
#include "base/progress.h"
#include "base/thread_pool.h"
#include "format/checkpoint.h"
#include "kernels/kernels.h"
#include "model/counts.h"
#include "model/presets.h"
#include "text/tokenizer_files.h"
#include "train/checkpointing.h"
#include "train/run.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

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

/// What to say where a narrow type costs time instead of saving it; empty elsewhere.
std::string doubts_precision(const TrainConfig& recipe, torch::Device device) {
  const torch::ScalarType type = compute_type(recipe);
  const bool fast = type == torch::kFloat32 || (type == torch::kBFloat16 && kernels::has_fast_bf16());
  if (!device.is_cpu() || fast) return "";
  return "note: this processor has no products in " + recipe.precision +
         ", and libtorch's substitute is slow and rounds sums as well; --set precision=fp32 is the better choice here";
}

/// Several processes on one machine take a GPU each.
Result<torch::Device> open_device(const std::string& name, const ProcessPlace& place) {
  if (name == "cpu") return torch::Device(torch::kCPU);
  if (!torch::cuda::is_available()) return Error{"'device' is cuda, but this libtorch sees no CUDA device"};
  const auto cards = static_cast<int>(torch::cuda::device_count());
  // A launcher may show each process its own card alone.
  const int card = cards == 1 ? 0 : place.local_rank;
  if (card >= cards) {
    return Error{"'device' is cuda, and this process is number " + std::to_string(card) +
                 " on its machine (LOCAL_RANK, from 0), whose CUDA devices are " + std::to_string(cards)};
  }
  if (place.size > 1 && !has_nccl()) {
    return Error{"'device' is cuda, but this build cannot train on it in several processes: it found no NCCL, "
                 "a libtorch without it, or now one with another version"};
  }
  return torch::Device(torch::kCUDA, static_cast<torch::DeviceIndex>(card));
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

std::string describe(const Processes& processes, const TrainConfig& recipe) {
  const std::string share = recipe.sequence_parallel == 1
                                ? std::to_string(recipe.batch_size) + " rows of a batch"
                                : "one of " + std::to_string(recipe.sequence_parallel) + " slices of a row";
  return std::to_string(processes.size()) + " processes, each of them " + share;
}

Status check_tokenizer(const PreparedData& data, const ModelConfig& model) {
  const auto pieces = static_cast<int64_t>(data.vocabulary.pieces.size());
  if (pieces != model.vocab_size) {
    return Error{data.tokenizer.string() + ": the tokenizer has " + std::to_string(pieces) + " pieces, but 'vocab_size' is " +
                 std::to_string(model.vocab_size)};
  }
  const bool same_ends = data.vocabulary.bos_id == model.bos_token_id && data.vocabulary.eos_id == model.eos_token_id;
  // Other models' config.json often names another end than the one that tokenizer_config.json does.
  if (!has_sentencepiece_model(data.tokenizer) || same_ends) return {};
  return Error{data.tokenizer.string() + ": the tokenizer's ids for the start and end of a text are " +
               std::to_string(data.vocabulary.bos_id) + " and " + std::to_string(data.vocabulary.eos_id) +
               ", but 'bos_token_id' and 'eos_token_id' are " + std::to_string(model.bos_token_id) + " and " +
               std::to_string(model.eos_token_id)};
}

/// The text as tokens, which the first process prepares for all.
Result<PreparedData> prepare(const TrainRequest& request, const RunSetup& setup, Processes& processes) {
  const PrepareOptions options{.paths = request.data,
                               .directory = request.out / "data",
                               .vocab_size = setup.model.vocab_size,
                               .sequence_length = setup.recipe.sequence_length,
                               .heldout_fraction = setup.recipe.heldout_fraction,
                               .tokenizer = setup.tokenizer,
                               .threads = at::get_num_threads(),
                               .quiet = request.quiet};
  if (!processes.first()) processes.wait_for_all();
  RF_TRY(PreparedData data, prepare_data(options));
  if (processes.first()) processes.wait_for_all();
  RF_TRY_VOID(check_tokenizer(data, setup.model));
  return data;
}

}  // namespace

Result<TrainReport> run_training(const TrainRequest& whole_request) {
  const FlushDenormals flush;  // libtorch's threads, started from here on, inherit it
  RF_TRY(const ProcessPlace place, process_place());
  TrainRequest request = whole_request;
  request.quiet = request.quiet || place.rank > 0;
  RF_TRY(RunSetup setup, set_up_run(request));
  RF_TRY(const torch::Device device, open_device(setup.recipe.device, place));
  RF_TRY_VOID(check_precision(setup.recipe, device));
  if (const std::string doubt = doubts_precision(setup.recipe, device); !doubt.empty() && !setup.resume_from) remark(request, doubt);
  // Said even where it is all of them: libtorch's own default depends on how it was built.
  at::set_num_threads(request.threads > 0 ? request.threads : std::max(1, usable_processors() / place.local_size));
  RF_TRY(Processes processes, Processes::join(place));
  const auto sharers = static_cast<int>(setup.recipe.sequence_parallel);
  if (place.size % sharers != 0) {
    return Error{"'sequence_parallel' is " + std::to_string(sharers) + ", which does not divide the " +
                 std::to_string(place.size) + " processes (WORLD_SIZE)"};
  }
  RF_TRY(Processes row_group, processes.part(sharers));
  RF_TRY(PreparedData data, prepare(request, setup, processes));
  CausalLm model(setup.model, static_cast<uint64_t>(setup.recipe.seed));
  model->to(device);
  remark(request, describe(setup, data));
  if (processes.size() > 1) remark(request, describe(processes, setup.recipe));
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
    run.compare_step_size();
  }
  RF_TRY_VOID(run.find_teacher());
  return run.train();
}

}  // namespace ringflash
