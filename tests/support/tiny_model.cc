#include "support/tiny_model.h"

#include <cmath>
#include <cstdio>

#include "base/float16.h"
#include "base/rng.h"
#include "format/config_gguf.h"
#include "format/dense_encoding.h"
#include "format/dequantize.h"
#include "format/tokenizer_gguf.h"
#include "model/tensors.h"

namespace ringflash::testing {
namespace {

/// Stores `values` as `type` and rounds them to what was stored.
std::vector<std::byte> store(std::vector<float>& values, GgufType type) {
  if (type == GgufType::kF16) return std::vector<std::byte>(values.size() * sizeof(fp16));
  const std::vector<std::byte> bytes = encode(values, type);
  values = read_floats({"", type, {std::ssize(values)}, bytes}).value();
  return bytes;
}

/// Random values that keep activations near 1: gains around 1, matrices with rows of unit length. Routers are
/// stronger, so that scores differ and the biases matter.
std::vector<float> random_values(const TensorSpec& spec, Rng& rng) {
  std::vector<float> values(static_cast<size_t>(spec.elements()));
  const double columns = static_cast<double>(spec.shape.back());
  for (float& value : values) {
    const double x = rng.normal();
    switch (spec.role) {
      case TensorRole::kNorm:
        value = static_cast<float>(1 + 0.2 * x);
        continue;
      case TensorRole::kRouter:
        value = static_cast<float>(2 * x / std::sqrt(columns));
        continue;
      case TensorRole::kEmbedding:
      case TensorRole::kLinear:
      case TensorRole::kDelta:
        value = static_cast<float>(x / std::sqrt(columns));
        continue;
    }
    RF_UNREACHABLE();
  }
  return values;
}

GgufType stored_type(const TensorSpec& spec, const TinyModelOptions& options) {
  if (spec.name == options.mistype) return GgufType::kF16;
  switch (spec.role) {
    case TensorRole::kNorm:
    case TensorRole::kRouter:
      return GgufType::kF32;
    case TensorRole::kEmbedding:
    case TensorRole::kLinear:
      return options.matrices;
    case TensorRole::kDelta:
      return options.matrices == GgufType::kF32 ? GgufType::kF32 : GgufType::kBF16;
  }
  RF_UNREACHABLE();
}

}  // namespace

ModelConfig tiny_ring_config() {
  ModelConfig c;
  c.vocab_size = 288;
  c.hidden_size = 64;
  c.intermediate_size = 96;
  c.num_hidden_layers = 4;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 16;
  c.max_position_embeddings = 256;
  c.embedding_multiplier = 8;
  c.embedding_shift = 24;
  c.ring = {.window = 16, .stride = 8, .global_ratio = 0.25, .sink_tokens = 2, .global_rope = false};
  c.attention = {AttentionKind::kRing, AttentionKind::kFull, AttentionKind::kRing, AttentionKind::kRing};
  return c;
}

ModelConfig tiny_imported_config(const std::string& architecture) {
  ModelConfig c = tiny_ring_config();
  c.num_hidden_layers = 2;
  c.embedding_multiplier = 1;
  c.embedding_shift = 0;
  c.ring = {};
  c.attention.assign(2, AttentionKind::kFull);
  if (architecture == "llama") return c;
  c.rope_theta = 1e6;
  c.attention_bias = architecture == "qwen2";
  c.qk_norm = architecture != "qwen2";
  if (c.qk_norm) c.head_dim = 32;  // so that all heads are wider than the model
  c.tie_word_embeddings = architecture != "qwen3";
  if (architecture != "gemma3") return c;
  c.post_norms = true;
  c.hidden_act = Activation::kGeluTanh;
  c.embedding_multiplier = std::sqrt(static_cast<double>(c.hidden_size));
  c.attention[0] = AttentionKind::kSliding;
  c.sliding_window = 24;
  c.rope_local_base_freq = 10000;
  return c;
}

Vocabulary byte_vocabulary(int64_t size) {
  Vocabulary vocabulary;
  vocabulary.pieces = {
      {"<unk>", 0, PieceType::kUnknown}, {"<s>", 0, PieceType::kControl}, {"</s>", 0, PieceType::kControl}};
  for (int byte = 0; byte < 256; ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
    vocabulary.pieces.push_back({name, 0, PieceType::kByte});
  }
  std::string text;
  for (float rank = 0; static_cast<int64_t>(vocabulary.pieces.size()) < size; ++rank) {
    vocabulary.pieces.push_back({text += 'a', -rank, PieceType::kNormal});
  }
  return vocabulary;
}

TinyWeights write_tiny_gguf(const std::filesystem::path& path, const TinyModelOptions& options) {
  TinyWeights weights;
  GgufWriter writer;
  write_config(options.config, writer);
  write_vocabulary(byte_vocabulary(options.config.vocab_size), writer);
  Rng rng(options.seed);
  for (TensorSpec spec : tensor_inventory(options.config)) {
    if (spec.name == options.misshape) ++spec.shape[0];
    std::vector<float>& values = weights[spec.name] = random_values(spec, rng);
    const GgufType type = stored_type(spec, options);
    if (spec.name == options.leave_out) continue;
    writer.add_tensor(spec.name, type, spec.shape, [bytes = store(values, type)] { return bytes; });
  }
  const Status written = writer.write(path);
  if (!written) std::fprintf(stderr, "%s\n", written.error().message.c_str());
  RF_CHECK(written.ok());
  return weights;
}

}  // namespace ringflash::testing
