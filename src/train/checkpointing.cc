#include "train/checkpointing.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include "base/file.h"
#include "format/checkpoint.h"
#include "format/config_json.h"
#include "format/safetensors.h"
#include "text/tokenizer_files.h"
#include "train/torch_headers.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;
using NamedTensors = std::vector<AdamW::Parameter>;

constexpr const char* kStateFolder = "trainer_state";
constexpr const char* kMasksFile = "masks.safetensors";
constexpr const char* kBestFolder = "best";

/// fp32 tensors, bytes, and bool ones as bytes of 0 and 1.
Status write_tensors(const fs::path& file, const NamedTensors& tensors) {
  std::vector<Tensor> kept;  // keeps the copies alive while they are written
  std::vector<TensorView> views;
  for (const auto& [name, value] : tensors) {
    const Tensor& data = kept.emplace_back(value.detach().to(torch::kCPU).contiguous());
    const bool is_bytes = data.element_size() == 1;
    RF_CHECK(is_bytes || data.scalar_type() == torch::kFloat32);
    const std::span bytes(static_cast<const std::byte*>(data.data_ptr()), data.nbytes());
    views.push_back({name, is_bytes ? DType::kU8 : DType::kF32, data.sizes().vec(), bytes});
  }
  return write_safetensors(file, views, {{"format", "pt"}});
}

Status read_bytes(const SafetensorsFile& file, const std::string& name, Tensor& value) {
  RF_TRY(const TensorView view, file.require(name, value.sizes().vec()));
  if (view.dtype != DType::kU8) {
    return Error{file.path().string() + ": tensor '" + name + "': expected type U8, found " +
                 to_string(view.dtype)};
  }
  const Tensor bytes = torch::empty(value.sizes(), torch::kUInt8);
  std::memcpy(bytes.data_ptr(), view.data.data(), view.data.size());
  value.copy_(value.scalar_type() == torch::kBool ? bytes.ne(0) : bytes);
  return {};
}

Status read_tensors(const SafetensorsFile& file, NamedTensors tensors) {
  torch::NoGradGuard no_grad;
  for (auto& [name, value] : tensors) {
    if (value.element_size() == 1) {
      RF_TRY_VOID(read_bytes(file, name, value));
      continue;
    }
    RF_TRY(const TensorView view, file.require_floats(name, value.sizes().vec()));
    std::vector<float> floats = to_floats(view);
    value.copy_(torch::from_blob(floats.data(), value.sizes(), torch::kFloat32));
  }
  return {};
}

/// The model's weights with zeros where masks have them.
NamedTensors masked_weights(const CausalLm& model, const Sparsifier& sparsifier) {
  torch::NoGradGuard no_grad;
  std::map<std::string, Tensor> masks;
  for (const auto& [name, value] : sparsifier.tensors()) {
    if (value.scalar_type() == torch::kBool) masks[name] = value;
  }
  NamedTensors weights = parameters_of(model);
  for (auto& [name, value] : weights) {
    if (const auto found = masks.find(name + kMaskSuffix); found != masks.end())
      value = value * found->second;
  }
  return weights;
}

Status make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Error{path.string() + ": cannot be created: " + error.message()};
  return {};
}

/// What every checkpoint holds, into an existing directory.
Status write_model(const fs::path& directory, const ModelConfig& config, const NamedTensors& weights,
                   const fs::path& tokenizer) {
  RF_TRY_VOID(copy_tokenizer(tokenizer, directory));
  RF_TRY_VOID(write_file(directory / "config.json", config_to_json(config)));
  return write_tensors(directory / "model.safetensors", weights);
}

Status fill(const fs::path& directory, const CausalLm& model, const AdamW& optimizer, const Sparsifier& sparsifier,
            const Progression& progression, const TrainConfig& config, const fs::path& tokenizer) {
  const fs::path state = directory / kStateFolder;
  RF_TRY_VOID(make_directory(state));
  RF_TRY_VOID(write_model(directory, model->config(), masked_weights(model, sparsifier), tokenizer));
  RF_TRY_VOID(write_tensors(state / "optimizer.safetensors", optimizer.state()));
  if (sparsifier.active()) RF_TRY_VOID(write_tensors(state / kMasksFile, sparsifier.tensors()));
  RF_TRY_VOID(write_file(state / "train_config.json", train_config_to_json(config)));
  Progression saved = progression;
  saved.optimizer_steps = optimizer.steps();
  return write_file(state / "state.json", progression_to_json(saved));
}

/// Puts `aside` in the place of `path`, which may be taken, and is so by either at any moment. Where the file system
/// cannot exchange two, the old one goes first.
Status replace_directory(const fs::path& aside, const fs::path& path) {
  std::error_code error;
  if (::renameat2(AT_FDCWD, aside.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(aside, error);
    return {};
  }
  if (errno == EINVAL || errno == ENOSYS) fs::remove_all(path, error);
  fs::rename(aside, path, error);
  if (error) return Error{path.string() + ": cannot be renamed into place: " + error.message()};
  return {};
}

/// Builds a directory aside, as <path>.tmp, and puts it in place when `build` has filled it.
template <typename Build>
Status write_directory(const fs::path& path, const Build& build) {
  std::error_code error;
  fs::path aside = path;
  aside += ".tmp";
  fs::remove_all(aside, error);  // what an interrupted save left
  RF_TRY_VOID(make_directory(aside));
  if (const Status built = build(aside); !built) {
    fs::remove_all(aside, error);
    return built.error();
  }
  RF_TRY_VOID(sync_directory(aside));
  RF_TRY_VOID(replace_directory(aside, path));
  return sync_directory(fs::absolute(path).parent_path());
}

bool is_checkpoint(const fs::path& path) {
  std::error_code error;
  return checkpoint_step(path) && fs::exists(path / "config.json", error);
}

/// What a killed save left: checkpoint-<step>.tmp or best.tmp.
bool is_leftover(const fs::path& path) {
  const fs::path name = path.stem();
  return path.extension() == ".tmp" && (name == kBestFolder || checkpoint_step(path.parent_path() / name));
}

/// Deletes leftovers, and checkpoints beyond the `keep` newest, but never the one just `saved`.
void delete_old(const fs::path& run, const fs::path& saved, int64_t keep) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (fs::directory_iterator entry(run, error), end; !error && entry != end; entry.increment(error)) {
    if (is_checkpoint(entry->path())) found.emplace_back(*checkpoint_step(entry->path()), entry->path());
    if (is_leftover(entry->path())) leftovers.push_back(entry->path());
  }
  std::sort(found.rbegin(), found.rend());
  for (size_t i = static_cast<size_t>(keep); i < found.size(); ++i) {
    if (found[i].second == saved) continue;
    // Half of one must not look like a whole one, should the process be killed here.
    fs::path aside = found[i].second;
    aside += ".tmp";
    fs::rename(found[i].second, aside, error);
    if (!error) leftovers.push_back(aside);
  }
  for (const fs::path& leftover : leftovers) fs::remove_all(leftover, error);
}

}  // namespace

NamedTensors parameters_of(const CausalLm& model) {
  NamedTensors tensors;
  for (const auto& item : model->named_parameters()) tensors.push_back({item.key(), item.value()});
  return tensors;
}

Result<fs::path> save_checkpoint(const fs::path& run, const CausalLm& model, const AdamW& optimizer,
                                 const Sparsifier& sparsifier, const Progression& progression,
                                 const TrainConfig& config, const fs::path& tokenizer) {
  const fs::path final_path = run / ("checkpoint-" + std::to_string(progression.step));
  std::error_code error;
  if (is_checkpoint(final_path)) return final_path;  // the same step again: runs are deterministic
  fs::remove_all(final_path, error);
  RF_TRY_VOID(write_directory(final_path, [&](const fs::path& directory) {
    return fill(directory, model, optimizer, sparsifier, progression, config, tokenizer);
  }));
  delete_old(run, final_path, config.save_total_limit);
  return final_path;
}

Status save_best(const fs::path& run, const CausalLm& model, const Sparsifier& sparsifier,
                 const fs::path& tokenizer) {
  return write_directory(run / kBestFolder, [&](const fs::path& aside) {
    return write_model(aside, model->config(), masked_weights(model, sparsifier), tokenizer);
  });
}

Status save_model(const fs::path& directory, const CausalLm& model, const fs::path& tokenizer) {
  return write_directory(directory, [&](const fs::path& aside) {
    return write_model(aside, model->config(), parameters_of(model), tokenizer);
  });
}

Status load_weights(const fs::path& checkpoint, CausalLm& model) {
  RF_TRY(const SafetensorsFile file, SafetensorsFile::open(checkpoint / "model.safetensors"));
  return read_tensors(file, parameters_of(model));
}

Result<Progression> load_trainer_state(const fs::path& checkpoint, AdamW& optimizer, Sparsifier& sparsifier) {
  const fs::path state = checkpoint / kStateFolder;
  RF_TRY(const SafetensorsFile file, SafetensorsFile::open(state / "optimizer.safetensors"));
  RF_TRY_VOID(read_tensors(file, optimizer.state()));
  if (sparsifier.active()) {
    RF_TRY(const SafetensorsFile masks, SafetensorsFile::open(state / kMasksFile));
    RF_TRY_VOID(read_tensors(masks, sparsifier.tensors()));
  }
  RF_TRY(const std::string text, read_file(state / "state.json"));
  Result<Progression> progression = progression_from_json(text);
  if (!progression) return progression.error().in((state / "state.json").string());
  optimizer.set_steps(progression->optimizer_steps);
  sparsifier.resume(progression->step);
  return progression;
}

Result<TrainConfig> load_train_config(const fs::path& checkpoint) {
  const fs::path file = checkpoint / kStateFolder / "train_config.json";
  RF_TRY(const std::string text, read_file(file));
  Result<TrainConfig> config = train_config_from_json(text);
  if (!config) return config.error().in(file.string());
  return config;
}

}  // namespace ringflash
