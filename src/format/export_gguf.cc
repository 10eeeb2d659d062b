#include "format/export_gguf.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/float16.h"
#include "format/config_gguf.h"
#include "format/gguf.h"
#include "format/quantize_q8_0.h"
#include "format/sparse_gguf.h"
#include "model/tensors.h"

namespace ringflash {
namespace {

constexpr float kMaxBf16 = 0x1.fep127f;
/// ggml's number for a type that its loader must guess from the tensors.
constexpr uint32_t kMostlyOurs = 1024;

/// ggml's general.file_type of each format.
uint32_t file_type(ExportFormat format) {
  switch (format) {
    case ExportFormat::kBF16:
      return 32;
    case ExportFormat::kQ8:
      return 7;
    case ExportFormat::kS4:
    case ExportFormat::kS8:
      return kMostlyOurs;
  }
  RF_UNREACHABLE();
}

GgufType compressed_type(const TensorSpec& spec, ExportFormat format) {
  const bool whole_blocks = spec.shape.back() % BlockQ8_0::kWeights == 0;
  switch (format) {
    case ExportFormat::kBF16:
      return GgufType::kBF16;
    case ExportFormat::kQ8:
    case ExportFormat::kS4:  // what is not sparse
    case ExportFormat::kS8:
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

Status check_weights(const std::vector<float>& weights, float limit, const std::string& type) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (std::abs(weights[i]) <= limit) continue;
    return Error{"element " + std::to_string(i) + " must be a number that " + type + " can hold (at most " +
                 std::to_string(limit) + "), found " + std::to_string(weights[i])};
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

/// How sparse tensors of this format are stored, or nothing where it has none.
std::optional<SparseBits> sparse_bits(ExportFormat format) {
  switch (format) {
    case ExportFormat::kS4:
      return SparseBits::k4;
    case ExportFormat::kS8:
      return SparseBits::k8;
    case ExportFormat::kBF16:
    case ExportFormat::kQ8:
      return std::nullopt;
  }
  RF_UNREACHABLE();
}

Result<std::vector<float>> read_weights(const Checkpoint& checkpoint, const TensorSpec& spec, float limit,
                                        const std::string& type) {
  RF_TRY(const TensorView tensor, checkpoint.weights.require(spec.name, spec.shape));
  std::vector<float> weights = to_floats(tensor);
  if (Status status = check_weights(weights, limit, type); !status) {
    return status.error().in(checkpoint.weights.path().string() + ": tensor '" + spec.name + "'");
  }
  return weights;
}

/// The tensors that are stored sparse: those of the fine pattern in whole groups of 64.
Result<SparseTensors> sparse_tensors(const Checkpoint& checkpoint, std::span<const TensorSpec> inventory,
                                     ExportFormat format) {
  SparseTensors tensors;
  const std::optional<SparseBits> bits = sparse_bits(format);
  if (!bits) return tensors;
  const SparsityConfig& sparsity = checkpoint.config.sparsity;
  for (const TensorSpec& spec : inventory) {
    if (spec.role != TensorRole::kLinear || sparsity.pattern_of(spec.name) != SparsePattern::kFine) continue;
    if (spec.shape[1] % kSparseInputs != 0 || !is_index_form(sparsity.keep)) continue;
    SparseFormat sparse{.bits = *bits,
                        .shape = {spec.shape[0], spec.shape[1], static_cast<int>(sparsity.keep)}};
    if (*bits == SparseBits::k4) {
      RF_TRY(const std::vector<float> weights,
             read_weights(checkpoint, spec, largest_sparse_weight(*bits), "S4"));
      float largest = 0;
      for (const float weight : weights) largest = std::max(largest, std::abs(weight));
      sparse.base = s4_base_exponent(largest);
    }
    tensors.emplace(spec.name, sparse);
  }
  if (!tensors.empty()) return tensors;
  return Error{checkpoint.directory.string() +
               ": s4 and s8 store weights of the fine pattern, of which 4, 8, 12 or 16 of " +
               "64 are there; found 'sparsity' " + to_string(sparsity.pattern) + " with 'sparsity_keep' " +
               std::to_string(sparsity.keep) + ". Train with --set sparsity=fine, or `ringflash compress`"};
}

Result<std::vector<std::byte>> encode_sparse(const std::vector<float>& weights, const SparseFormat& format) {
  std::vector<std::byte> blocks(static_cast<size_t>(format.bytes()));
  RF_TRY_VOID(quantize(format, weights.data(), {0, format.shape.row_blocks()}, blocks.data()));
  return blocks;
}

}  // namespace

Result<ExportFormat> parse_export_format(const std::string& text) {
  if (text == "bf16") return ExportFormat::kBF16;
  if (text == "q8") return ExportFormat::kQ8;
  if (text == "s4") return ExportFormat::kS4;
  if (text == "s8") return ExportFormat::kS8;
  return Error{"the format must be bf16, q8, s4 or s8, found '" + text + "'"};
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
  RF_TRY(const SparseTensors sparse, sparse_tensors(checkpoint, inventory, format));
  write_sparse_tensors(sparse, writer);
  const auto count_one = [&] {
    if (progress) progress(++done, total);
  };
  for (const TensorSpec& spec : inventory) {
    if (const auto found = sparse.find(spec.name); found != sparse.end()) {
      const SparseFormat& blocks = found->second;
      bytes_of(report, spec.role) += static_cast<uint64_t>(blocks.bytes());
      writer.add_tensor(spec.name, GgufType::kI8, {blocks.bytes()}, [&]() -> Result<std::vector<std::byte>> {
        RF_TRY(const std::vector<float> weights,
               read_weights(checkpoint, spec, largest_sparse_weight(blocks.bits),
                            blocks.bits == SparseBits::k4 ? "S4" : "S8"));
        count_one();
        Result<std::vector<std::byte>> encoded = encode_sparse(weights, blocks);
        if (!encoded)
          return encoded.error().in(checkpoint.weights.path().string() + ": tensor '" + spec.name + "'");
        return encoded;
      });
      continue;
    }
    const GgufType type = stored_type(spec, format);
    bytes_of(report, spec.role) += gguf_bytes(type, static_cast<uint64_t>(spec.elements())).value();
    writer.add_tensor(spec.name, type, spec.shape, [&, type]() -> Result<std::vector<std::byte>> {
      RF_TRY(const std::vector<float> weights,
             read_weights(checkpoint, spec, largest_weight(type), to_string(type)));
      count_one();
      return encode(weights, type);
    });
  }
  RF_TRY_VOID(writer.write(out));
  RF_TRY(const MappedFile written, MappedFile::open(out));
  report.file_bytes = written.bytes().size();
  return report;
}

}  // namespace ringflash
