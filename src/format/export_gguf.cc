#include "format/export_gguf.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/float16.h"
#include "format/config_gguf.h"
#include "format/gguf.h"
#include "format/quantize_q8_0.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

constexpr float kMaxBf16 = 0x1.fep127f;

/// ggml's general.file_type of each format.
uint32_t file_type(ExportFormat format) {
  switch (format) {
    case ExportFormat::kBF16:
      return 32;
    case ExportFormat::kQ8:
      return 7;
  }
  RF_UNREACHABLE();
}

GgufType compressed_type(const TensorSpec& spec, ExportFormat format) {
  const bool whole_blocks = spec.shape.back() % BlockQ8_0::kWeights == 0;
  switch (format) {
    case ExportFormat::kBF16:
      return GgufType::kBF16;
    case ExportFormat::kQ8:
      return whole_blocks ? GgufType::kQ8_0 : GgufType::kBF16;
  }
  RF_UNREACHABLE();
}

GgufType stored_type(const TensorSpec& spec, ExportFormat format) {
  switch (spec.role) {
    case TensorRole::kEmbedding:
    case TensorRole::kLinear:
      return compressed_type(spec, format);
    case TensorRole::kRouter:
    case TensorRole::kNorm:
      return GgufType::kF32;
  }
  RF_UNREACHABLE();
}

/// The largest magnitude that does not become infinite in the type.
float largest_weight(GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return std::numeric_limits<float>::max();
    case GgufType::kBF16:
      return kMaxBf16;
    case GgufType::kQ8_0:
      return kMaxQ8_0;
    case GgufType::kF16:
    case GgufType::kI8:
      break;  // no tensor is stored so
  }
  RF_UNREACHABLE();
}

Status check_weights(const std::vector<float>& weights, GgufType type) {
  const float limit = largest_weight(type);
  for (size_t i = 0; i < weights.size(); ++i) {
    if (std::abs(weights[i]) <= limit) continue;
    return Error{"element " + std::to_string(i) + " must be a number that " + to_string(type) +
                 " can hold (at most " + std::to_string(limit) + "), found " + std::to_string(weights[i])};
  }
  return {};
}

template <typename T>
std::vector<std::byte> as_bytes(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> encode(const std::vector<float>& weights, GgufType type) {
  switch (type) {
    case GgufType::kF32:
      return as_bytes(weights);
    case GgufType::kBF16: {
      std::vector<bf16> halves(weights.size());
      for (size_t i = 0; i < weights.size(); ++i) halves[i] = to_bf16(weights[i]);
      return as_bytes(halves);
    }
    case GgufType::kQ8_0: {
      std::vector<BlockQ8_0> blocks(weights.size() / BlockQ8_0::kWeights);
      quantize_q8_0(weights, blocks);
      return as_bytes(blocks);
    }
    case GgufType::kF16:
    case GgufType::kI8:
      break;  // no tensor is stored so
  }
  RF_UNREACHABLE();
}

uint64_t& bytes_of(ExportReport& report, TensorRole role) {
  switch (role) {
    case TensorRole::kLinear:
      return report.linear_bytes;
    case TensorRole::kEmbedding:
      return report.embedding_bytes;
    case TensorRole::kRouter:
    case TensorRole::kNorm:
      return report.other_bytes;
  }
  RF_UNREACHABLE();
}

}  // namespace

Result<ExportFormat> parse_export_format(const std::string& text) {
  if (text == "bf16") return ExportFormat::kBF16;
  if (text == "q8") return ExportFormat::kQ8;
  return Error{"the format must be bf16 or q8, found '" + text + "'"};
}

Result<ExportReport> export_gguf(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                 ExportFormat format, const std::function<void(int64_t, int64_t)>& progress) {
  GgufWriter writer;
  writer.set("general.file_type", file_type(format));
  writer.set("general.quantization_version", uint32_t{2});
  write_config(checkpoint.config, writer);
  write_vocabulary(checkpoint.vocabulary, writer);

  const std::vector<TensorSpec> inventory = tensor_inventory(checkpoint.config);
  const auto total = static_cast<int64_t>(inventory.size());
  int64_t done = 0;
  ExportReport report;
  for (const TensorSpec& spec : inventory) {
    const GgufType type = stored_type(spec, format);
    bytes_of(report, spec.role) += gguf_bytes(type, static_cast<uint64_t>(spec.elements())).value();
    writer.add_tensor(spec.name, type, spec.shape, [&, type]() -> Result<std::vector<std::byte>> {
      RF_TRY(const TensorView tensor, checkpoint.weights.require(spec.name, spec.shape));
      const std::vector<float> weights = to_floats(tensor);
      if (Status status = check_weights(weights, type); !status) {
        return status.error().in(checkpoint.weights.path().string() + ": tensor '" + spec.name + "'");
      }
      if (progress) progress(++done, total);
      return encode(weights, type);
    });
  }
  RF_TRY_VOID(writer.write(out));
  RF_TRY(const MappedFile written, MappedFile::open(out));
  report.file_bytes = written.bytes().size();
  return report;
}

}  // namespace ringflash
