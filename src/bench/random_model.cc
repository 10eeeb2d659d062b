#include "bench/random_model.h"

#include <cmath>
#include <cstring>

#include "bench/attention_case.h"
#include "format/config_gguf.h"
#include "format/sparse_tensors.h"
#include "format/tokenizer_gguf.h"
#include "model/presets.h"
#include "model/tensors.h"

namespace ringflash::bench {
namespace {

Vocabulary invented_vocabulary(int64_t size) {
  Vocabulary vocabulary;
  vocabulary.pieces = {
      {"<unk>", 0, PieceType::kUnknown}, {"<s>", 0, PieceType::kControl}, {"</s>", 0, PieceType::kControl}};
  for (int64_t id = std::ssize(vocabulary.pieces); id < size; ++id) {
    vocabulary.pieces.push_back({"piece" + std::to_string(id), static_cast<float>(-id), PieceType::kNormal});
  }
  return vocabulary;
}

template <typename T>
std::vector<std::byte> to_bytes(const T& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(values[0]));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

bool is_matrix(const TensorSpec& spec) {
  return spec.role == TensorRole::kEmbedding || spec.role == TensorRole::kLinear || spec.role == TensorRole::kDelta;
}

float deviation(const TensorSpec& spec) {
  return static_cast<float>(1 / std::sqrt(static_cast<double>(spec.shape.back())));
}

/// How a matrix is stored. Eight deviations bound its weights.
WeightMatrix stored(const TensorSpec& spec, StoredFormat format) {
  if (spec.role == TensorRole::kDelta) format = StoredFormat::kBF16;
  const bool as_named = spec.role == TensorRole::kLinear || format == StoredFormat::kBF16;
  return describe(as_named ? format : StoredFormat::kQ8_0, spec.shape[0], spec.shape[1], 8 * deviation(spec));
}

std::vector<std::byte> random_tensor(const TensorSpec& spec, StoredFormat format, uint64_t seed, Executor& executor) {
  AlignedVector<float> values(static_cast<size_t>(spec.elements()), 1.0f);
  if (spec.role == TensorRole::kNorm) return to_bytes(values);
  fill_normal(values, seed << 32, executor);
  const float scale = deviation(spec);
  for (float& value : values) value *= scale;
  return is_matrix(spec) ? to_bytes(pack(stored(spec, format), values)) : to_bytes(values);
}

}  // namespace

Result<ModelConfig> random_model_config(const std::string& name) {
  if (name != "1b") return preset_config(name);
  ModelConfig config = preset_config("small").value();
  config.vocab_size = 32000;
  config.hidden_size = 2048;
  config.intermediate_size = 5632;
  config.num_hidden_layers = 22;
  config.num_attention_heads = 32;
  config.num_key_value_heads = 4;
  config.tie_word_embeddings = false;
  config.embedding_multiplier = std::sqrt(2048.0);
  config.attention.assign(22, AttentionKind::kRing);
  return config;
}

Status write_random_model(const std::filesystem::path& path, const ModelConfig& config, StoredFormat format,
                          Executor& executor) {
  GgufWriter writer;
  write_config(config, writer);
  write_vocabulary(invented_vocabulary(config.vocab_size), writer);
  uint64_t seed = 0;
  SparseTensors sparse;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    GgufType type = GgufType::kF32;
    std::vector<int64_t> shape = spec.shape;
    if (is_matrix(spec)) {
      const WeightMatrix matrix = stored(spec, format);
      type = matrix.type;
      if (type == GgufType::kI8) shape = blob_shape(sparse[spec.name] = matrix.sparse);
    }
    writer.add_tensor(spec.name, type, shape,
                      [spec, format, tensor_seed = ++seed, &executor]() -> Result<std::vector<std::byte>> {
                        return random_tensor(spec, format, tensor_seed, executor);
                      });
  }
  write_sparse_tensors(sparse, writer);
  return writer.write(path);
}

}  // namespace ringflash::bench
