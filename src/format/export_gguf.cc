#include "format/export_gguf.h"
#include "format/tokenizer_gguf.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/float16.h"
#include "format/config_gguf.h"
#include "format/gguf.h"
#include "format/quantize_q4_0.h"
#include "format/quantize_q8_0.h"
#include "format/quantize_sparse.h"
#include "format/sparse_tensors.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

constexpr float kMaxBf16 = 0x1.fep127f;

/// ggml's general.file_type of each format.
uint32_t file_type(ExportFormat format) {
  switch (format) {
    case ExportFormat::kF32:
      return 0;
    case ExportFormat::kBF16:
      return 32;
    case ExportFormat::kQ8:
      return 7;
    case ExportFormat::kQ4:
      return 2;
    case ExportFormat::kS8:
    case ExportFormat::kS4:
      return 7;  // of what is not ours alone
  }
  RF_UNREACHABLE();
}

GgufType matrix_type(const TensorSpec& spec, ExportFormat format) {
  if (format == ExportFormat::kF32) return GgufType::kF32;
  const bool whole_blocks = spec.shape.back() % BlockQ8_0::kWeights == 0;
  if (format == ExportFormat::kBF16 || !whole_blocks) return GgufType::kBF16;
  const bool linear = spec.role == TensorRole::kLinear;
  return format == ExportFormat::kQ4 && linear ? GgufType::kQ4_0 : GgufType::kQ8_0;
}

GgufType dense_type(const TensorSpec& spec, ExportFormat format) {
  switch (spec.role) {
    case TensorRole::kEmbedding:
    case TensorRole::kLinear:
      return matrix_type(spec, format);
    case TensorRole::kDelta:  // so that it is what was trained with, and small anyway
      return format == ExportFormat::kF32 ? GgufType::kF32 : GgufType::kBF16;
    case TensorRole::kRouter:
    case TensorRole::kNorm:
      return GgufType::kF32;
  }
  RF_UNREACHABLE();
}

std::optional<SparseBits> sparse_bits(ExportFormat format) {
  switch (format) {
    case ExportFormat::kS4:
      return SparseBits::k4;
    case ExportFormat::kS8:
      return SparseBits::k8;
    case ExportFormat::kF32:
    case ExportFormat::kBF16:
    case ExportFormat::kQ8:
    case ExportFormat::kQ4:
      return std::nullopt;
  }
  RF_UNREACHABLE();
}

bool is_sparse(const TensorSpec& spec, const SparsityConfig& sparsity) {
  return spec.role == TensorRole::kLinear && sparsity.pattern_of(spec.name) == SparsePattern::kFine &&
         spec.shape.back() % kSparseInputs == 0;
}

Result<std::vector<float>> read_weights(const Checkpoint& checkpoint, const TensorSpec& spec) {
  RF_TRY(const TensorView tensor, checkpoint.weights.require(spec.name, spec.shape));
  return to_floats(tensor);
}

/// Which tensors become sparse, and how. S4's base exponents take a look at all their weights.
Result<SparseTensors> choose_sparse(const Checkpoint& checkpoint, const std::vector<TensorSpec>& inventory,
                                    ExportFormat format) {
  SparseTensors tensors;
  const std::optional<SparseBits> bits = sparse_bits(format);
  if (!bits) return tensors;
  const SparsityConfig& sparsity = checkpoint.config.sparsity;
  for (const TensorSpec& spec : inventory) {
    if (!is_sparse(spec, sparsity)) continue;
    if (!is_index_form(sparsity.keep)) {
      return Error{checkpoint.directory.string() + ": 'sparsity_keep' must be 4, 8, 12 or 16 for this format, found " +
                   std::to_string(sparsity.keep)};
    }
    RF_TRY(const std::vector<float> weights, read_weights(checkpoint, spec));
    float largest = 0;
    for (const float w : weights) largest = std::max(largest, std::abs(w));
    const int base = *bits == SparseBits::k4 ? s4_base_exponent(largest) : 0;
    tensors[spec.name] = {*bits, {spec.shape[0], spec.shape[1], static_cast<int>(sparsity.keep)}, base};
  }
  if (!tensors.empty()) return tensors;
  return Error{checkpoint.directory.string() +
               ": this format needs sparse weights: 'sparsity' must be \"fine\" for some tensor whose rows are a "
               "multiple of 64 long"};
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
    case GgufType::kQ4_0:
      return kMaxQ4_0;
    default:
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
    case GgufType::kQ4_0: {
      std::vector<BlockQ4_0> blocks(weights.size() / BlockQ4_0::kWeights);
      quantize_q4_0(weights, blocks);
      return as_bytes(blocks);
    }
    default:
      break;  // no dense tensor is stored so
  }
  RF_UNREACHABLE();
}

Result<std::vector<std::byte>> encode_dense(const std::vector<float>& weights, GgufType type) {
  RF_TRY_VOID(check_weights(weights, type));
  return encode(weights, type);
}

Result<std::vector<std::byte>> encode_sparse(const std::vector<float>& weights, const SparseFormat& format) {
  std::vector<std::byte> blocks(static_cast<size_t>(format.bytes()));
  RF_TRY_VOID(quantize(format, weights.data(), {0, format.shape.row_blocks()}, blocks.data()));
  return blocks;
}

uint64_t& bytes_of(ExportReport& report, TensorRole role) {
  switch (role) {
    case TensorRole::kLinear:
    case TensorRole::kDelta:
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
  if (text == "f32") return ExportFormat::kF32;
  if (text == "bf16") return ExportFormat::kBF16;
  if (text == "q8") return ExportFormat::kQ8;
  if (text == "q4") return ExportFormat::kQ4;
  if (text == "s8") return ExportFormat::kS8;
  if (text == "s4") return ExportFormat::kS4;
  return Error{"the format must be f32, bf16, q8, q4, s8 or s4, found '" + text + "'"};
}

Result<ExportReport> export_gguf(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                 ExportFormat format, const std::function<void(int64_t, int64_t)>& progress) {
  GgufWriter writer;
  writer.set("general.file_type", file_type(format));
  writer.set("general.quantization_version", uint32_t{2});
  write_config(checkpoint.config, writer);
  write_vocabulary(checkpoint.vocabulary, writer);

  const std::vector<TensorSpec> inventory = tensor_inventory(checkpoint.config);
  RF_TRY(const SparseTensors sparse, choose_sparse(checkpoint, inventory, format));
  write_sparse_tensors(sparse, writer);
  const auto total = static_cast<int64_t>(inventory.size());
  int64_t done = 0;
  ExportReport report;
  for (const TensorSpec& spec : inventory) {
    const auto found = sparse.find(spec.name);
    const SparseFormat* packed = found == sparse.end() ? nullptr : &found->second;
    const GgufType type = packed != nullptr ? GgufType::kI8 : dense_type(spec, format);
    const auto produce = [&, type, packed]() -> Result<std::vector<std::byte>> {
      RF_TRY(const std::vector<float> weights, read_weights(checkpoint, spec));
      auto bytes = packed != nullptr ? encode_sparse(weights, *packed) : encode_dense(weights, type);
      if (!bytes) return bytes.error().in(checkpoint.weights.path().string() + ": tensor '" + spec.name + "'");
      if (progress) progress(++done, total);
      return bytes;
    };
    const std::vector<int64_t> shape = packed != nullptr ? blob_shape(*packed) : spec.shape;
    uint64_t elements = 1;
    for (const int64_t size : shape) elements *= static_cast<uint64_t>(size);
    bytes_of(report, spec.role) += gguf_bytes(type, elements).value();
    if (&bytes_of(report, spec.role) == &report.linear_bytes) report.linear_fp16_bytes += 2 * static_cast<uint64_t>(spec.elements());
    report.fp16_bytes += 2 * static_cast<uint64_t>(spec.elements());
    writer.add_tensor(spec.name, type, shape, produce);
  }
  RF_TRY_VOID(writer.write(out));
  RF_TRY(const MappedFile written, MappedFile::open(out));
  report.file_bytes = written.bytes().size();
  return report;
}

}  // namespace ringflash
