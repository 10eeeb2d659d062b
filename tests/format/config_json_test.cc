#include "format/config_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "format/tiny_checkpoint.h"
#include "model/presets.h"
#include "support/tiny_model.h"

namespace ringflash {
namespace {

using nlohmann::json;

/// A config with everything that must be there, and these keys replaced or added.
json with(const json& changes = json::object()) {
  json config = {{"vocab_size", 512},        {"hidden_size", 64},
                 {"intermediate_size", 128}, {"num_hidden_layers", 2},
                 {"num_attention_heads", 4}, {"num_key_value_heads", 2},
                 {"head_dim", 16},           {"max_position_embeddings", 256}};
  config.update(changes);
  return config;
}

json without(const std::string& key) {
  json config = with();
  config.erase(key);
  return config;
}

std::string error_of(const std::string& text) {
  const auto config = config_from_json(text);
  return config ? "accepted" : config.error().message;
}
std::string error_of(const json& config) {
  return error_of(config.dump());
}

TEST(ConfigJson, EveryNumberComesBackExactly) {
  std::vector<ModelConfig> configs = {testing::tiny_config()};
  for (const Preset& preset : presets()) configs.push_back(preset.config);
  configs[0].tie_word_embeddings = false;
  configs[0].bos_token_id = 5;
  configs[0].eos_token_id = 6;
  configs[0].rms_norm_eps = 0.1 + 0.2 - 0.299999;
  configs[0].attention_mode = AttentionMode::kBidirectional;
  configs[1].ring.select = GlobalSelect::kTopPages;
  configs[1].ring.top_pages_factor = 7;
  configs[1].ring.top_pages_run = 64;
  configs[2].rope_scaling = {.type = RopeScalingType::kYarn, .factor = 3.7, .original_positions = 4096};
  configs[3].rope_scaling = {.type = RopeScalingType::kLlama3, .factor = 32, .original_positions = 8192};
  for (const char* architecture : testing::kImportedArchitectures) {
    configs.push_back(testing::tiny_imported_config(architecture));
  }
  configs[2].sparsity = {SparsePattern::kFine, 16, 4, {"layers.0.=none", "down_proj=block"}};
  configs[3].sharing = {.group_size = 3, .kinds = {"up_proj"}, .rank = 0};
  for (const ModelConfig& config : configs) {
    const auto read = config_from_json(config_to_json(config));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, config);
  }
}

TEST(ConfigJson, WritesHuggingFacesNames) {
  const json written = json::parse(config_to_json(testing::tiny_config()));
  const json expected = {{"model_type", "ringflash"},
                         {"vocab_size", 261},
                         {"hidden_size", 64},
                         {"intermediate_size", 48},
                         {"num_hidden_layers", 2},
                         {"num_attention_heads", 2},
                         {"num_key_value_heads", 1},
                         {"head_dim", 32},
                         {"max_position_embeddings", 64},
                         {"rms_norm_eps", 1.1e-5},
                         {"rope_theta", 12345.678901234567},
                         {"rope_scaling", nullptr},
                         {"embedding_multiplier", 8.1},
                         {"embedding_shift", 7},
                         {"hidden_act", "silu"},
                         {"attention_bias", false},
                         {"qk_norm", false},
                         {"post_norms", false},
                         {"tie_word_embeddings", true},
                         {"bos_token_id", 1},
                         {"eos_token_id", 2},
                         {"window", 32},
                         {"stride", 16},
                         {"global_ratio", 0.07},
                         {"sink_tokens", 3},
                         {"global_rope", true},
                         {"global_select", "all"},
                         {"top_pages_factor", 2},
                         {"top_pages_run", 32},
                         {"attention", {"ring", "full"}},
                         {"sliding_window", 0},
                         {"rope_local_base_freq", 0.0},
                         {"attention_mode", "causal"},
                         {"sparsity", "none"},
                         {"sparsity_keep", 12},
                         {"weight_bits", 16},
                         {"sparsity_exceptions", json::array()},
                         {"sharing_group_size", 1},
                         {"sharing_kinds",
                          {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}},
                         {"sharing_rank", 16}};
  EXPECT_EQ(written, expected);
}

TEST(ConfigJson, AbsentKeysTakeDefaults) {
  const ModelConfig config = config_from_json(with().dump()).value();
  EXPECT_EQ(config.ring, RingGeometry());
  EXPECT_EQ(config.attention, (std::vector{AttentionKind::kRing, AttentionKind::kRing}));
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_EQ(config_from_json(without("head_dim").dump()).value().head_dim, 16);
  EXPECT_EQ(config_from_json(without("num_key_value_heads").dump()).value().num_key_value_heads, 4);
}

TEST(ConfigJson, AbsentRingKeysSuitTheLongestSequence) {
  const auto ring = [](const json& changes, int64_t least_positions = 0) {
    return config_from_json(with(changes).dump(), least_positions).value().ring;
  };
  EXPECT_EQ(ring({{"max_position_embeddings", 8192}}), ring_preset(8192));
  EXPECT_EQ(ring({{"max_position_embeddings", 8193}}), ring_preset(8193));
  EXPECT_EQ(ring(json::object(), 16384), ring_preset(16384));
  EXPECT_EQ(ring({{"window", nullptr}, {"stride", nullptr}}, 16384), ring_preset(16384));
  const RingGeometry given = ring({{"stride", 128}, {"global_ratio", 0.1}, {"sink_tokens", 7}}, 16384);
  EXPECT_EQ(given, (RingGeometry{.window = 1024, .stride = 128, .global_ratio = 0.1, .sink_tokens = 7}));
  EXPECT_EQ(error_of(with({{"max_position_embeddings", 16384}, {"window", 256}})),
            "'window' must be a multiple of stride (512), found 256");
}

TEST(ConfigJson, PositionsAreRaisedButNeverLowered) {
  EXPECT_EQ(config_from_json(with().dump(), 1000).value().max_position_embeddings, 1000);
  EXPECT_EQ(config_from_json(with().dump(), 100).value().max_position_embeddings, 256);
  const auto config = config_from_json(with({{"max_position_embeddings", -1}}).dump(), 1000);
  ASSERT_FALSE(config);
  EXPECT_TRUE(config.error().message.ends_with("found -1")) << config.error().message;
}

TEST(ConfigJson, OneKindOfAttentionStandsForAllLayers) {
  const auto kinds = [](const json& attention) {
    return config_from_json(with({{"attention", attention}}).dump()).value().attention;
  };
  EXPECT_EQ(kinds("full"), (std::vector{AttentionKind::kFull, AttentionKind::kFull}));
  EXPECT_EQ(kinds(json::array({"full", "ring"})), (std::vector{AttentionKind::kFull, AttentionKind::kRing}));
  EXPECT_EQ(kinds(nullptr), (std::vector{AttentionKind::kRing, AttentionKind::kRing}));
}

// As transformers 4.38 writes it for Llama 2 7B.
TEST(ConfigJson, ALlamaConfigIsAllFullAndDense) {
  const auto config = config_from_json(R"({
    "_name_or_path": "meta-llama/Llama-2-7b-hf", "architectures": ["LlamaForCausalLM"], "attention_bias": false,
    "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
    "initializer_range": 0.02, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama",
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1,
    "rope_scaling": null, "tie_word_embeddings": false, "torch_dtype": "float16",
    "transformers_version": "4.38.0", "use_cache": true, "vocab_size": 32000})");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->attention, std::vector(32, AttentionKind::kFull));
  EXPECT_EQ(config->head_dim, 128);
  EXPECT_EQ(config->rms_norm_eps, 1e-6);  // LlamaConfig's default
  EXPECT_EQ(config->rope_theta, 10000.0);
  EXPECT_EQ(config->embedding_multiplier, 1.0);
  EXPECT_FALSE(config->tie_word_embeddings);
}

TEST(ConfigJson, LlamaVariantsThatWeDoNotComputeAreRefused) {
  EXPECT_EQ(error_of(with({{"hidden_act", "gelu"}})), "'hidden_act' must be \"silu\" or \"gelu_pytorch_tanh\", found 'gelu'");
  EXPECT_EQ(error_of(with({{"model_type", "llama"}, {"attention_bias", true}})),
            "'attention_bias' must be false in a Llama config (there o_proj has a bias as well), found true");
  EXPECT_EQ(error_of(with({{"mlp_bias", true}})), "'mlp_bias' must be false, found true");
  EXPECT_EQ(error_of(with({{"model_type", "mistral"}})),
            "'model_type' must be \"ringflash\" or \"llama\", found \"mistral\"");
  EXPECT_EQ(error_of(with({{"model_type", 3}})), "'model_type' must be \"ringflash\" or \"llama\", found 3");
}

TEST(ConfigJson, RopeScalingIsReadAsHuggingFaceWritesIt) {
  const auto scaling = [](const json& value) {
    return config_from_json(with({{"rope_scaling", value}}).dump()).value().rope_scaling;
  };
  EXPECT_EQ(scaling({{"rope_type", "default"}}), RopeScaling());
  const RopeScaling linear{.type = RopeScalingType::kLinear, .factor = 2};
  EXPECT_EQ(scaling({{"type", "linear"}, {"factor", 2.0}}), linear);
  EXPECT_EQ(scaling({{"rope_type", "linear"}, {"factor", 2}, {"rope_theta", 5e5}}), linear);
  const RopeScaling yarn = scaling({{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}});
  EXPECT_EQ(yarn.attention_factor, yarn_attention_factor(4));
  EXPECT_EQ(yarn.original_positions, 32768);
}

TEST(ConfigJson, RopeScalingThatWeDoNotComputeIsRefused) {
  const auto error = [](const json& value) { return error_of(with({{"rope_scaling", value}})); };
  EXPECT_EQ(error({{"rope_type", "longrope"}, {"factor", 2}}),
            "'rope_scaling.rope_type' must be \"default\", \"linear\", \"llama3\" or \"yarn\", found 'longrope'");
  EXPECT_EQ(error({{"factor", 2}}), "'rope_scaling.rope_type' must be a string, found null");
  EXPECT_EQ(error({{"type", "linear"}}), "'rope_scaling.factor' must be a number, found null");
  EXPECT_EQ(error({{"type", "linear"}, {"factor", 0.5}}),
            "'rope_scaling.factor' must be a number from 1 to 1e6, found 0.500000");
  EXPECT_EQ(error({{"type", "linear"}, {"factor", 2}, {"mscale", 1}}),
            "'rope_scaling' of type linear has an unknown key 'mscale'");
  EXPECT_EQ(error(7), "'rope_scaling' must be an object or null, found 7");
  EXPECT_NE(error({{"type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", -1}}), "accepted");
  EXPECT_NE(error({{"type", "yarn"}, {"factor", 2}, {"original_max_position_embeddings", 1.5}}), "accepted");
}

TEST(ConfigJson, SlidingLayersNeedAWindow) {
  EXPECT_EQ(error_of(with({{"attention", "sliding"}})), "'sliding_window' must be between 1 and 16777216, found 0");
  EXPECT_EQ(error_of(with({{"attention", "sliding"}, {"sliding_window", 5}})), "accepted");
  EXPECT_EQ(error_of(with({{"attention", "sliding"}, {"sliding_window", 5}, {"rope_local_base_freq", 0.5}})),
            "'rope_local_base_freq' must be 0 or in [1, 1e12], found 0.500000");
}

TEST(ConfigJson, UnknownKeysAreNamedAndNearOnesSuggested) {
  EXPECT_EQ(error_of(with({{"windw", 512}})), "unknown key 'windw'; did you mean 'window'?");
  EXPECT_EQ(error_of(with({{"global-ratio", 0.1}})),
            "unknown key 'global-ratio'; did you mean 'global_ratio'?");
  EXPECT_EQ(error_of(with({{"num_attention_head", 4}})),
            "unknown key 'num_attention_head'; did you mean 'num_attention_heads'?");
  EXPECT_EQ(error_of(with({{"sliding", 512}})), "unknown key 'sliding'");
  EXPECT_EQ(error_of(with({{"\n\x1b", 512}})), "unknown key '\\x0a\\x1b'");
}

TEST(ConfigJson, MissingKeysAreNamed) {
  for (const std::string key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                                "num_attention_heads", "max_position_embeddings"}) {
    EXPECT_EQ(error_of(without(key)), "'" + key + "' is missing");
  }
}

TEST(ConfigJson, WrongTypesNameKeyTypeAndFinding) {
  EXPECT_EQ(error_of(with({{"hidden_size", "64"}})), "'hidden_size' must be an integer, found \"64\"");
  EXPECT_EQ(error_of(with({{"hidden_size", 64.0}})), "'hidden_size' must be an integer, found 64.0");
  EXPECT_EQ(error_of(with({{"hidden_size", nullptr}})), "'hidden_size' must be an integer, found null");
  EXPECT_EQ(error_of(with({{"hidden_size", true}})), "'hidden_size' must be an integer, found true");
  EXPECT_EQ(error_of(with({{"hidden_size", ~0ull}})),
            "'hidden_size' must be an integer, found 18446744073709551615");
  EXPECT_EQ(error_of(with({{"rope_theta", "1e4"}})), "'rope_theta' must be a number, found \"1e4\"");
  EXPECT_EQ(error_of(with({{"global_rope", 0}})), "'global_rope' must be true or false, found 0");
  EXPECT_EQ(error_of(with({{"global_select", 1}})), "'global_select' must be a string, found 1");
  EXPECT_EQ(error_of(with({{"global_select", "some"}})),
            "'global_select' must be \"all\" or \"top_pages\", found 'some'");
  EXPECT_EQ(error_of(with({{"attention_mode", true}})), "'attention_mode' must be a string, found true");
  EXPECT_EQ(error_of(with({{"attention_mode", "both"}})),
            "'attention_mode' must be \"causal\" or \"bidirectional\", found 'both'");
  EXPECT_EQ(error_of(with({{"top_pages_run", "32"}})), "'top_pages_run' must be an integer, found \"32\"");
  EXPECT_EQ(error_of(with({{"attention", 1}})), "'attention' must be a string or a list of strings, found 1");
  EXPECT_EQ(error_of(with({{"attention", {"ring", 1}}})), "'attention' must be a list of strings, found 1");
  EXPECT_EQ(error_of(with({{"attention", {"ring", "oval"}}})),
            "'attention' must be \"ring\", \"full\" or \"sliding\", found 'oval'");
}

TEST(ConfigJson, ImpossibleShapesAreRefused) {
  EXPECT_EQ(error_of(with({{"window", 300}})), "'window' must be a multiple of stride (256), found 300");
  EXPECT_EQ(error_of(with({{"num_key_value_heads", 3}})),
            "'num_attention_heads' must be a multiple of num_key_value_heads (3), found 4");
  json uneven = without("head_dim");
  uneven["hidden_size"] = 66;
  EXPECT_EQ(
      error_of(uneven),
      "'hidden_size' must be a multiple of num_attention_heads (4) where head_dim is not given, found 66");
  EXPECT_EQ(error_of(with({{"attention", {"ring"}}})),
            "'attention' must be a list of one entry per layer (2), found 1 entries");
  EXPECT_EQ(error_of(with({{"attention", json::array()}})),
            "'attention' must be a list of one entry per layer (2), found 0 entries");
  for (const int64_t layers : {int64_t{0}, int64_t{-1}, int64_t{1} << 60}) {
    EXPECT_EQ(error_of(with({{"num_hidden_layers", layers}})),
              "'num_hidden_layers' must be between 1 and 4096, found " + std::to_string(layers));
  }
  for (const int64_t heads : {int64_t{0}, int64_t{-4}}) {
    json config = without("head_dim");
    config["num_attention_heads"] = heads;
    EXPECT_EQ(error_of(config).substr(0, 45), "'num_attention_heads' must be between 1 and 1");
  }
}

TEST(ConfigJson, SyntaxErrorsGiveThePlace) {
  EXPECT_EQ(error_of(std::string("{\n  \"vocab_size\": ,\n}")).substr(0, 52),
            "not valid JSON: parse error at line 2, column 17: sy");
  EXPECT_EQ(error_of(std::string()).substr(0, 49), "not valid JSON: parse error at line 1, column 1: ");
  EXPECT_NE(error_of(std::string("{\"rope_theta\": 1e999}")).find("not valid JSON"), std::string::npos);
  EXPECT_EQ(error_of(std::string("[1, 2]")), "expected a JSON object, found [1,2]");
  EXPECT_EQ(error_of(std::string("{\"vocab_size\": 1, \"vocab_size\": 2}")),
            "expected each key once, found 'vocab_size' again");
}

TEST(ConfigJson, AbsurdNestingIsRefused) {
  const size_t deep = 1'000'000;
  const std::string expected = "expected JSON of at most 32 levels, found more";
  EXPECT_EQ(error_of(std::string(deep, '[')), expected);
  EXPECT_EQ(error_of(std::string(deep, '[') + std::string(deep, ']')), expected);
  EXPECT_EQ(error_of(with({{"architectures", std::string(deep, '[')}})),
            "accepted");  // a string, not nesting
  EXPECT_EQ(error_of(with({{"architectures", "\\\"[" + std::string(deep, '{')}})), "accepted");
}

}  // namespace
}  // namespace ringflash
