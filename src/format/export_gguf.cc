#include "format/export_gguf.h"
#include "format/tokenizer_gguf.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "format/config_gguf.h"
#include "format/dense_encoding.h"
#include "format/gguf.h"
#include "format/quantize_sparse.h"
#include "format/sparse_tensors.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

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
    case ExportFormat::kAuto:
      return 2;
    case ExportFormat::kQ4_1:
      return 3;
    case ExportFormat::kQ5_0:
      return 8;
    case ExportFormat::kS8:
    case ExportFormat::kS4:
      return 7;  // of what is not ours alone
  }
  RF_UNREACHABLE();
}

Result<std::vector<float>> read_weights(const Checkpoint& checkpoint, const TensorSpec& spec) {
  RF_TRY(const TensorView tensor, checkpoint.weights.require(spec.name, spec.shape));
  return to_floats(tensor);
}

/// The first of some types that a linear tensor has all its weights in, or else `otherwise`.
Result<GgufType> least_type(const Checkpoint& checkpoint, const TensorSpec& spec, std::initializer_list<GgufType> types,
                            GgufType otherwise) {
  RF_TRY(const std::vector<float> weights, read_weights(checkpoint, spec));
  for (const GgufType type : types) {
    if (holds(type, weights, spec.shape.back())) return type;
  }
  return otherwise;
}

/// The type of a linear tensor whose rows are whole blocks.
Result<GgufType> linear_type(const Checkpoint& checkpoint, const TensorSpec& spec, ExportFormat format) {
  switch (format) {
    case ExportFormat::kF32:
      return GgufType::kF32;
    case ExportFormat::kBF16:
      return GgufType::kBF16;
    case ExportFormat::kQ4:
      return least_type(checkpoint, spec, {GgufType::kQ4_0, GgufType::kQ4_1}, GgufType::kQ4_0);
    case ExportFormat::kAuto:
      return least_type(checkpoint, spec, {GgufType::kQ4_0, GgufType::kQ4_1, GgufType::kQ5_0}, GgufType::kQ8_0);
    case ExportFormat::kQ4_1:
      return GgufType::kQ4_1;
    case ExportFormat::kQ5_0:
      return GgufType::kQ5_0;
    case ExportFormat::kQ8:
    case ExportFormat::kS8:
    case ExportFormat::kS4:
      return GgufType::kQ8_0;
  }
  RF_UNREACHABLE();
}

Result<GgufType> dense_type(const Checkpoint& checkpoint, const TensorSpec& spec, ExportFormat format) {
  const bool floats = format == ExportFormat::kF32 || format == ExportFormat::kBF16;
  const bool whole_blocks = spec.shape.back() % static_cast<int64_t>(gguf_block_elements(GgufType::kQ8_0)) == 0;
  switch (spec.role) {
    case TensorRole::kEmbedding:
      if (!floats && whole_blocks) return GgufType::kQ8_0;
      [[fallthrough]];
    case TensorRole::kLinear:
      if (!floats && !whole_blocks) return GgufType::kBF16;
      return linear_type(checkpoint, spec, format);
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
    case ExportFormat::kQ4_1:
    case ExportFormat::kQ5_0:
    case ExportFormat::kAuto:
      return std::nullopt;
  }
  RF_UNREACHABLE();
}

bool is_sparse(const TensorSpec& spec, const SparsityConfig& sparsity) {
  return spec.role == TensorRole::kLinear && sparsity.pattern_of(spec.name) == SparsePattern::kFine &&
         spec.shape.back() % kSparseInputs == 0;
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
    if (!is_stored_nonzeros(sparsity.keep)) {
      return Error{checkpoint.directory.string() + ": 'sparsity_keep' must be 4, 8, 12, 16 or more for this format, found " +
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
  if (text == "q4_1") return ExportFormat::kQ4_1;
  if (text == "q5_0") return ExportFormat::kQ5_0;
  if (text == "auto") return ExportFormat::kAuto;
  if (text == "s8") return ExportFormat::kS8;
  if (text == "s4") return ExportFormat::kS4;
  return Error{"the format must be f32, bf16, q8, q4, q4_1, q5_0, auto, s8 or s4, found '" + text + "'"};
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
    GgufType type = GgufType::kI8;
    if (packed == nullptr) {
      RF_TRY(type, dense_type(checkpoint, spec, format));
    }
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
