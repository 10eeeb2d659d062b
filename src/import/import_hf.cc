#include "import/import_hf.h"

#include <algorithm>
#include <array>
#include <memory>
#include <set>

#include "base/file.h"
#include "base/in_quotes.h"
#include "format/json_text.h"
#include "import/hf_config.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxJsonBytes = size_t{64} << 20;

/// One file, or the shards that an index lists.
class Shards {
 public:
  static Result<Shards> open(const fs::path& directory);

  /// Null if absent.
  const TensorView* find(const std::string& name) const {
    for (const SafetensorsFile& file : files_) {
      if (const TensorView* tensor = file.find(name)) return tensor;
    }
    return nullptr;
  }
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  std::vector<SafetensorsFile> files_;
};

Result<json> read_json(const fs::path& path) {
  RF_TRY(const MappedFile file, MappedFile::open(path));
  if (file.bytes().size() > kMaxJsonBytes) {
    return Error{path.string() + ": expected at most 64 MiB, found " + std::to_string(file.bytes().size()) + " bytes"};
  }
  Result<json> root = parse_json(file.text());
  if (!root) return root.error().in(path.string());
  return root;
}

/// The distinct file names of the index, none of which leads elsewhere.
Result<std::set<std::string>> shard_names(const fs::path& index) {
  RF_TRY(const json root, read_json(index));
  const json map = root.is_object() ? root.value("weight_map", json(nullptr)) : json(nullptr);
  if (!map.is_object()) return Error{index.string() + ": 'weight_map' must be an object, found " + show(map)};
  std::set<std::string> names;
  for (const auto& [tensor, file] : map.items()) {
    const bool plain = file.is_string() && fs::path(file.get<std::string>()).filename() == file.get<std::string>();
    if (!plain) return Error{index.string() + ": 'weight_map' must name files beside it, found " + show(file)};
    names.insert(file.get<std::string>());
  }
  return names;
}

Result<Shards> Shards::open(const fs::path& directory) {
  Shards shards;
  std::set<std::string> names = {"model.safetensors"};
  std::error_code ignored;
  const fs::path index = directory / "model.safetensors.index.json";
  if (!fs::exists(directory / "model.safetensors", ignored) && fs::exists(index, ignored)) {
    RF_TRY(names, shard_names(index));
  }
  std::set<std::string> seen;
  for (const std::string& name : names) {
    RF_TRY(SafetensorsFile file, SafetensorsFile::open(directory / name));
    for (const TensorView& tensor : file.tensors()) {
      if (seen.insert(tensor.name).second) continue;
      return Error{file.path().string() + ": tensor " + in_quotes(tensor.name) + " is in another shard as well"};
    }
    shards.files_.push_back(std::move(file));
  }
  return shards;
}

/// Where a text model's tensors are within a larger one: ours are "model.*" and "lm_head.*".
struct Prefix {
  const char *model, *head;
};
constexpr Prefix kPrefixes[] = {
    {"model.", "lm_head."},
    {"language_model.model.", "language_model.lm_head."},
    {"model.language_model.", "lm_head."},
};

Result<Prefix> find_prefix(const Shards& shards, const fs::path& directory) {
  for (const Prefix& prefix : kPrefixes) {
    if (shards.find(prefix.model + std::string("embed_tokens.weight")) != nullptr) return prefix;
  }
  return Error{directory.string() + ": tensor " + in_quotes(kEmbeddingTensor) + " is missing"};
}

std::string name_within(const Prefix& prefix, const std::string& name) {
  constexpr std::string_view kModel = "model.", kHead = "lm_head.";
  if (name.starts_with(kModel)) return prefix.model + name.substr(kModel.size());
  return prefix.head + name.substr(kHead.size());
}

/// Tensors that add nothing: angles that are computed, a tied head's copy, and what sees images.
bool is_ignored(const std::string& name, const ModelConfig& config) {
  if (name.ends_with("rotary_emb.inv_freq")) return true;
  if (config.tie_word_embeddings && name.ends_with("lm_head.weight")) return true;
  constexpr std::array kImages = {"vision_tower.", "multi_modal_projector."};
  return std::any_of(kImages.begin(), kImages.end(),
                     [&](const char* part) { return name.find(part) != std::string::npos; });
}

/// What Gemma adds to a gain, and what it is multiplied with then.
struct GainChange {
  double offset = 0, factor = 1;

  bool none() const { return offset == 0 && factor == 1; }
};

GainChange gain_change(const TensorSpec& spec, const HfConfig& hf) {
  if (!hf.gemma || spec.role != TensorRole::kNorm) return {};
  const bool query = spec.name.ends_with("q_norm.weight");
  return {.offset = 1, .factor = query ? query_gain(hf.config.head_dim, hf.query_pre_attn_scalar) : 1};
}

Result<ImportedTensor> make_tensor(const std::shared_ptr<const Shards>& shards, const TensorSpec& spec,
                                   const std::string& name, const HfConfig& hf, const fs::path& directory) {
  for (const SafetensorsFile& file : shards->files()) {
    if (file.find(name) == nullptr) continue;
    RF_TRY(const TensorView view, file.require_floats(name, spec.shape));
    const GainChange change = gain_change(spec, hf);
    const DType dtype = change.none() ? view.dtype : DType::kF32;
    return ImportedTensor{spec, dtype, [shards, view, change]() -> Result<std::vector<float>> {
                            std::vector<float> values = to_floats(view);
                            if (change.none()) return values;
                            for (float& value : values) {
                              value = static_cast<float>((value + change.offset) * change.factor);
                            }
                            return values;
                          }};
  }
  return Error{directory.string() + ": tensor " + in_quotes(name) + " is missing"};
}

}  // namespace

Result<ImportedModel> read_hf_directory(const fs::path& directory) {
  const fs::path config_file = directory / "config.json";
  RF_TRY(const MappedFile config_text, MappedFile::open(config_file));
  if (config_text.bytes().size() > kMaxJsonBytes) return Error{config_file.string() + ": is too long for a config"};
  Result<HfConfig> hf = read_hf_config(config_text.text());
  if (!hf) return hf.error().in(config_file.string());
  RF_TRY(Shards opened, Shards::open(directory));
  const auto shards = std::make_shared<const Shards>(std::move(opened));
  RF_TRY(const Prefix prefix, find_prefix(*shards, directory));
  ImportedModel model{.architecture = hf->model_type, .config = hf->config, .tensors = {}, .stored_types = {}};
  std::set<std::string> used;
  for (const TensorSpec& spec : tensor_inventory(hf->config)) {
    const std::string name = name_within(prefix, spec.name);
    RF_TRY(ImportedTensor tensor, make_tensor(shards, spec, name, *hf, directory));
    used.insert(name);
    ++model.stored_types[to_string(shards->find(name)->dtype)];
    model.tensors.push_back(std::move(tensor));
  }
  for (const SafetensorsFile& file : shards->files()) {
    for (const TensorView& tensor : file.tensors()) {
      if (used.contains(tensor.name) || is_ignored(tensor.name, hf->config)) continue;
      return Error{file.path().string() + ": tensor " + in_quotes(tensor.name) +
                   " is not supported in a model of type " + hf->model_type};
    }
  }
  return model;
}

}  // namespace ringflash
