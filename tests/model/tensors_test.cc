#include "model/tensors.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "model/presets.h"

namespace ringflash {
namespace {

/// Every size differs, so that a swapped pair shows.
ModelConfig distinct_sizes() {
  ModelConfig config;
  config.vocab_size = 1000;
  config.hidden_size = 30;
  config.intermediate_size = 70;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 6;
  config.num_key_value_heads = 3;
  config.head_dim = 8;
  config.max_position_embeddings = 64;
  config.attention = {AttentionKind::kRing, AttentionKind::kFull};
  return config;
}

std::string describe(const TensorSpec& spec) {
  std::ostringstream text;
  text << spec.name << ' ' << to_string(spec.role);
  for (const int64_t size : spec.shape) text << ' ' << size;
  return text.str();
}

std::vector<std::string> inventory(const ModelConfig& config) {
  std::vector<std::string> lines;
  for (const TensorSpec& spec : tensor_inventory(config)) lines.push_back(describe(spec));
  return lines;
}

TEST(TensorInventory, HasHuggingFacesNamesAndShapes) {
  const std::vector<std::string> expected = {
      "model.embed_tokens.weight embedding 1000 30",
      "model.layers.0.input_layernorm.weight norm 30",
      "model.layers.0.self_attn.q_proj.weight linear 48 30",
      "model.layers.0.self_attn.k_proj.weight linear 24 30",
      "model.layers.0.self_attn.v_proj.weight linear 24 30",
      "model.layers.0.self_attn.o_proj.weight linear 30 48",
      "model.layers.0.self_attn.router.weight router 3 30",
      "model.layers.0.post_attention_layernorm.weight norm 30",
      "model.layers.0.mlp.gate_proj.weight linear 70 30",
      "model.layers.0.mlp.up_proj.weight linear 70 30",
      "model.layers.0.mlp.down_proj.weight linear 30 70",
      "model.layers.1.input_layernorm.weight norm 30",
      "model.layers.1.self_attn.q_proj.weight linear 48 30",
      "model.layers.1.self_attn.k_proj.weight linear 24 30",
      "model.layers.1.self_attn.v_proj.weight linear 24 30",
      "model.layers.1.self_attn.o_proj.weight linear 30 48",
      "model.layers.1.post_attention_layernorm.weight norm 30",
      "model.layers.1.mlp.gate_proj.weight linear 70 30",
      "model.layers.1.mlp.up_proj.weight linear 70 30",
      "model.layers.1.mlp.down_proj.weight linear 30 70",
      "model.norm.weight norm 30",
  };
  EXPECT_EQ(inventory(distinct_sizes()), expected);
}

TEST(TensorInventory, AnUntiedHeadIsATensor) {
  ModelConfig config = distinct_sizes();
  config.tie_word_embeddings = false;
  EXPECT_EQ(inventory(config).back(), "lm_head.weight embedding 1000 30");
}

TEST(TensorInventory, WithoutPagesThereIsNoRouter) {
  ModelConfig config = distinct_sizes();
  config.ring.global_ratio = 0;
  for (const std::string& line : inventory(config)) EXPECT_EQ(line.find("router"), std::string::npos) << line;
}

TEST(TensorInventory, NamesAreDistinct) {
  for (const Preset& preset : presets()) {
    std::set<std::string> names;
    for (const TensorSpec& spec : tensor_inventory(preset.config)) {
      EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
    }
  }
}

}  // namespace
}  // namespace ringflash
