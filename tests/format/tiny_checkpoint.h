// A complete checkpoint of a tiny model with known random weights, to open, spoil and export.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/rng.h"
#include "format/config_json.h"
#include "format/safetensors.h"
#include "model/tensors.h"
#include "protobuf_writer.h"

namespace ringflash::testing {

/// Without the flushing to disk that the product's own writers do.
inline void write_plain(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline constexpr int64_t kTinyVocabulary = 261;

inline std::string tiny_tokenizer() {
  std::string out = piece_field("<unk>", 0, 2) + piece_field("<s>", 0, 3) + piece_field("</s>", 0, 3);
  char name[8];
  for (int byte = 0; byte < 256; ++byte) {
    std::snprintf(name, sizeof name, "<0x%02X>", byte);
    out += piece_field(name, 0, 6);
  }
  out += piece_field("ab", -0.5f, 1) + piece_field("a", -1.25f, 1);
  const std::string trainer = number_field(3, 2) + number_field(35, 1);    // BPE, byte fallback
  const std::string normalizer = number_field(3, 0) + number_field(4, 0);  // text as it is
  return out + bytes_field(2, trainer) + bytes_field(3, normalizer);
}

/// intermediate_size is no multiple of 32, so down_proj's rows are not whole Q8_0 blocks.
inline ModelConfig tiny_config() {
  ModelConfig config;
  config.vocab_size = kTinyVocabulary;
  config.hidden_size = 64;
  config.intermediate_size = 48;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.head_dim = 32;
  config.max_position_embeddings = 64;
  config.rms_norm_eps = 1.1e-5;
  config.rope_theta = 12345.678901234567;
  config.embedding_multiplier = 8.1;
  config.embedding_shift = 7;
  config.ring = {.window = 32, .stride = 16, .global_ratio = 0.07, .sink_tokens = 3, .global_rope = true};
  config.attention = {AttentionKind::kRing, AttentionKind::kFull};
  return config;
}

using Weights = std::map<std::string, std::vector<float>>;

inline Weights random_weights(const ModelConfig& config) {
  Rng rng(7);
  Weights weights;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    std::vector<float>& values = weights[spec.name];
    for (int64_t i = 0; i < spec.elements(); ++i) values.push_back(static_cast<float>(rng.normal()));
  }
  return weights;
}

/// The weights as fp32, in the order and with the shapes of the inventory.
inline Status write_weights(const std::filesystem::path& file, const ModelConfig& config,
                            const Weights& weights) {
  std::vector<TensorView> views;
  for (const TensorSpec& spec : tensor_inventory(config)) {
    views.push_back({spec.name, DType::kF32, spec.shape, std::as_bytes(std::span(weights.at(spec.name)))});
  }
  return write_safetensors(file, views);
}

inline void write_checkpoint(const std::filesystem::path& directory, const ModelConfig& config,
                             const Weights& weights) {
  std::filesystem::create_directories(directory);
  write_plain(directory / "config.json", config_to_json(config));
  write_plain(directory / "tokenizer.model", tiny_tokenizer());
  const Status status = write_weights(directory / "model.safetensors", config, weights);
  ASSERT_TRUE(status) << status.error().message;
}

}  // namespace ringflash::testing
