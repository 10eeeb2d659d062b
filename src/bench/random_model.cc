#include "bench/random_model.h"

#include <cmath>
#include <cstring>

#include "base/float16.h"
#include "bench/attention_case.h"
#include "format/config_gguf.h"
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

std::vector<std::byte> random_tensor(const TensorSpec& spec, uint64_t seed, Executor& executor) {
  AlignedVector<float> values(static_cast<size_t>(spec.elements()), 1.0f);
  if (spec.role == TensorRole::kNorm) return to_bytes(values);
  fill_normal(values, seed << 32, executor);
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(spec.shape.back())));
  for (float& value : values) value *= scale;
  if (spec.role == TensorRole::kRouter) return to_bytes(values);
  std::vector<bf16> rounded(values.size());
  for (size_t i = 0; i < values.size(); ++i) rounded[i] = to_bf16(values[i]);
  return to_bytes(rounded);
}

}  // namespace

Status write_random_model(const std::filesystem::path& path, const ModelConfig& config, Executor& executor) {
  GgufWriter writer;
  write_config(config, writer);
  write_vocabulary(invented_vocabulary(config.vocab_size), writer);
  uint64_t seed = 0;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    const bool matrix = spec.role == TensorRole::kEmbedding || spec.role == TensorRole::kLinear;
    writer.add_tensor(spec.name, matrix ? GgufType::kBF16 : GgufType::kF32, spec.shape,
                      [spec, tensor_seed = ++seed, &executor]() -> Result<std::vector<std::byte>> {
                        return random_tensor(spec, tensor_seed, executor);
                      });
  }
  return writer.write(path);
}

}  // namespace ringflash::bench
