#include "import/import_model.h"

#include <cmath>
#include <cstring>

#include "base/file.h"
#include "base/float16.h"
#include "base/in_quotes.h"
#include "format/config_json.h"
#include "format/import_tokenizer.h"
#include "import/import_gguf.h"
#include "import/import_hf.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

template <typename Half>
std::vector<std::byte> narrow(const std::vector<float>& values, Half (*convert)(float)) {
  std::vector<std::byte> bytes(values.size() * sizeof(Half));
  for (size_t i = 0; i < values.size(); ++i) {
    const Half half = convert(values[i]);
    std::memcpy(bytes.data() + i * sizeof half, &half, sizeof half);
  }
  return bytes;
}

std::vector<std::byte> encode(const std::vector<float>& values, DType dtype) {
  switch (dtype) {
    case DType::kF32: {
      const auto bytes = std::as_bytes(std::span(values));
      return {bytes.begin(), bytes.end()};
    }
    case DType::kF16:
      return narrow<fp16>(values, to_fp16);
    case DType::kBF16:
      return narrow<bf16>(values, to_bf16);
    default:
      break;  // no source's values become integers
  }
  RF_UNREACHABLE();
}

Status check_finite(const std::vector<float>& values, const std::string& name) {
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return Error{"tensor " + in_quotes(name) + ": element " + std::to_string(i) + " must be finite, found " +
                   std::to_string(values[i])};
    }
  }
  return {};
}

/// What is there is no checkpoint until all of it is replaced.
Status unmake_checkpoint(const fs::path& directory) {
  std::error_code error;
  fs::remove(directory / "config.json", error);
  if (error) return Error{(directory / "config.json").string() + ": cannot be removed: " + error.message()};
  return {};
}

Status write_weights(const ImportedModel& model, const fs::path& source, const fs::path& file,
                     const ImportOptions& options) {
  const auto total = std::ssize(model.tensors);
  int64_t done = 0;
  std::vector<TensorProducer> producers;
  for (const ImportedTensor& tensor : model.tensors) {
    producers.push_back({tensor.spec.name, tensor.dtype, tensor.spec.shape, [&]() -> Result<std::vector<std::byte>> {
                           RF_TRY(const std::vector<float> values, tensor.read());
                           if (const Status finite = check_finite(values, tensor.spec.name); !finite) {
                             return finite.error().in(source.string());
                           }
                           options.progress(++done, total);
                           return encode(values, tensor.dtype);
                         }});
  }
  return write_safetensors(file, producers, {{"format", "pt"}});
}

}  // namespace

double query_gain(int64_t head_dim, double query_pre_attn_scalar) {
  return std::sqrt(static_cast<double>(head_dim) / query_pre_attn_scalar);
}

Status prepare_import(const fs::path& out, bool force) {
  std::error_code error;
  if (!force && fs::exists(out, error) && !(fs::is_directory(out, error) && fs::is_empty(out, error))) {
    return Error{out.string() + ": expected a directory that is empty or not there yet (or --force)"};
  }
  fs::create_directories(out, error);
  if (error) return Error{out.string() + ": cannot be created: " + error.message()};
  return {};
}

Result<ImportReport> import_model(const fs::path& source, const fs::path& out, const ImportOptions& options) {
  std::error_code ignored;
  const bool directory = fs::is_directory(source, ignored);
  RF_TRY(ImportedModel model, directory ? read_hf_directory(source) : read_foreign_gguf(source));
  if (options.ring) {
    if (const Status converted = convert_to_ring(model, *options.ring); !converted) {
      return converted.error().in(source.string());
    }
  }
  RF_TRY_VOID(prepare_import(out, options.force));
  RF_TRY_VOID(unmake_checkpoint(out));
  const fs::path weights = out / "model.safetensors";
  RF_TRY_VOID(write_weights(model, source, weights, options));
  RF_TRY_VOID(import_tokenizer(source, out));
  RF_TRY_VOID(write_file(out / "config.json", config_to_json(model.config)));
  return ImportReport{.architecture = model.architecture,
                      .config = model.config,
                      .stored_types = model.stored_types,
                      .weight_bytes = fs::file_size(weights, ignored)};
}

}  // namespace ringflash
