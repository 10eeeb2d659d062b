#include "format/checkpoint.h"

#include <charconv>
#include <set>

#include "base/in_quotes.h"
#include "format/config_json.h"
#include "model/tensors.h"
#include "text/tokenizer_files.h"

namespace ringflash {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr const char* kTokenizerFile = "tokenizer.model";
constexpr std::string_view kStepPrefix = "checkpoint-";
constexpr size_t kMaxConfigBytes = size_t{1} << 20;

bool is_there(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

/// Exactly the tensors of the inventory, with their shapes, in a float type.
Status check_weights(const SafetensorsFile& weights, const ModelConfig& config) {
  std::set<std::string, std::less<>> expected;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    RF_TRY_VOID(weights.require_floats(spec.name, spec.shape));
    expected.insert(spec.name);
  }
  for (const TensorView& tensor : weights.tensors()) {
    if (!expected.contains(tensor.name)) {
      return Error{weights.path().string() + ": tensor " + in_quotes(tensor.name) +
                   " is not part of the model that config.json describes"};
    }
  }
  return {};
}

Status check_vocabulary(const Vocabulary& vocabulary, const ModelConfig& config,
                        const std::filesystem::path& file) {
  const std::pair<const char*, std::pair<int64_t, int64_t>> pairs[] = {
      {"vocab_size", {config.vocab_size, static_cast<int64_t>(vocabulary.pieces.size())}},
      {"bos_token_id", {config.bos_token_id, vocabulary.bos_id}},
      {"eos_token_id", {config.eos_token_id, vocabulary.eos_id}},
  };
  for (const auto& [key, values] : pairs) {
    if (values.first != values.second) {
      return Error{file.string() + ": expected " + std::to_string(values.first) + ", config.json's '" + key +
                   "', found " + std::to_string(values.second)};
    }
  }
  return {};
}

/// Our own tokenizers fit the model exactly. Embeddings of others are often longer than their tokenizers.
Result<Vocabulary> load_vocabulary(const std::filesystem::path& directory, const ModelConfig& config) {
  RF_TRY(Vocabulary vocabulary, load_tokenizer(directory));
  if (has_sentencepiece_model(directory)) {
    RF_TRY_VOID(check_vocabulary(vocabulary, config, directory / kTokenizerFile));
  } else if (const Status fits = resize_vocabulary(vocabulary, config.vocab_size); !fits) {
    return fits.error().in(directory.string());
  }
  return vocabulary;
}

}  // namespace

std::optional<int64_t> checkpoint_step(const std::filesystem::path& directory) {
  const std::filesystem::path plain = directory.has_filename() ? directory : directory.parent_path();
  const std::string name = plain.filename().string();
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  const char* begin = name.data() + kStepPrefix.size();
  const char* end = name.data() + name.size();
  int64_t step = 0;
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc() || stop != end || *begin == '-') return std::nullopt;
  return step;
}

Result<std::filesystem::path> resolve_checkpoint(const std::filesystem::path& path) {
  if (is_there(path / kConfigFile)) return path;
  std::error_code error;
  std::filesystem::path newest;
  int64_t newest_step = -1;
  for (std::filesystem::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const std::optional<int64_t> step = checkpoint_step(it->path());
    if (step > newest_step && is_there(it->path() / kConfigFile)) {
      newest = it->path();
      newest_step = *step;
    }
  }
  if (error) return Error{path.string() + ": expected a checkpoint directory: " + error.message()};
  if (newest_step >= 0) return newest;
  return Error{path.string() +
               ": expected a directory with config.json, or with checkpoint-<step> directories that "
               "have one, found neither"};
}

Result<ModelConfig> load_config(const std::filesystem::path& file, int64_t least_positions) {
  RF_TRY(const MappedFile mapped, MappedFile::open(file));
  if (mapped.bytes().size() > kMaxConfigBytes) {
    return Error{file.string() + ": expected a config of at most 1 MiB, found " +
                 std::to_string(mapped.bytes().size()) + " bytes"};
  }
  Result<ModelConfig> config = config_from_json(mapped.text(), least_positions);
  if (!config) return config.error().in(file.string());
  return config;
}

Result<Checkpoint> open_checkpoint(const std::filesystem::path& path) {
  RF_TRY(std::filesystem::path directory, resolve_checkpoint(path));
  RF_TRY(ModelConfig config, load_config(directory / kConfigFile));
  RF_TRY(Vocabulary vocabulary, load_vocabulary(directory, config));
  RF_TRY(SafetensorsFile weights, SafetensorsFile::open(directory / kWeightsFile));
  RF_TRY_VOID(check_weights(weights, config));
  return Checkpoint{std::move(directory), std::move(config), std::move(vocabulary), std::move(weights)};
}

}  // namespace ringflash
