#include "import/import_hf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "import/foreign_files.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using nlohmann::json;
using testing::foreign_weights;
using testing::ForeignWeights;
using testing::tiny_imported_config;

class ImportHf : public ::testing::Test {
 protected:
  /// Writes the tiny model of an architecture with keys of its config.json replaced or added.
  void write(const std::string& architecture, const json& changes = json::object(), size_t shards = 1) {
    const ModelConfig config = tiny_imported_config(architecture);
    json text = testing::hf_config(architecture, config);
    text.update(changes);
    testing::write_hf_directory(model_, text, config, foreign_weights(config, 1), shards);
  }
  Result<ImportedModel> imported(const std::string& architecture, const json& changes = json::object()) {
    write(architecture, changes);
    return read_hf_directory(model_);
  }
  /// Without the name of the file, config.json.
  std::string error_after(const std::string& architecture, const json& changes) {
    const auto model = imported(architecture, changes);
    if (model) return "accepted";
    const std::string place = (model_ / "config.json").string() + ": ";
    EXPECT_TRUE(model.error().message.starts_with(place)) << model.error().message;
    return model.error().message.substr(std::min(place.size(), model.error().message.size()));
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path model_ = directory_ / "model";
};

/// What Gemma's gains become: one more than is stored, and q's so that its logits are divided by the root of
/// query_pre_attn_scalar, which hf_config() makes twice head_dim.
float gemma_gain(const std::string& name, float stored) {
  const double gain = static_cast<double>(stored) + 1;
  return static_cast<float>(name.ends_with("q_norm.weight") ? gain * std::sqrt(0.5) : gain);
}

TEST_F(ImportHf, EveryArchitectureComesBackAsItWas) {
  for (const char* architecture : testing::kImportedArchitectures) {
    SCOPED_TRACE(architecture);
    write(architecture, json::object(), architecture == std::string("qwen3") ? 3 : 1);
    const auto model = read_hf_directory(model_);
    ASSERT_TRUE(model) << model.error().message;
    const ModelConfig config = tiny_imported_config(architecture);
    EXPECT_EQ(model->config, config);
    const ForeignWeights weights = foreign_weights(config, 1);
    ASSERT_EQ(model->tensors.size(), weights.size());
    for (const ImportedTensor& tensor : model->tensors) {
      std::vector<float> expected = weights.at(tensor.spec.name);
      if (architecture == std::string("gemma3") && tensor.spec.role == TensorRole::kNorm) {
        for (float& gain : expected) gain = gemma_gain(tensor.spec.name, gain);
      }
      EXPECT_EQ(tensor.read().value(), expected) << tensor.spec.name;
    }
  }
}

TEST_F(ImportHf, RopeParametersOfNewerFilesAreTheSame) {
  const json llama3 = {{"rope_type", "llama3"},      {"factor", 8.0},
                       {"low_freq_factor", 1.0},     {"high_freq_factor", 4.0},
                       {"rope_theta", 500000.0},     {"original_max_position_embeddings", 128}};
  const ModelConfig config = imported("llama", {{"rope_parameters", llama3}}).value().config;
  EXPECT_EQ(config.rope_theta, 500000);
  EXPECT_EQ(config.rope_scaling.type, RopeScalingType::kLlama3);
  EXPECT_EQ(config.rope_scaling.original_positions, 128);
  const json both = {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}},
                     {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 5000.0}}}};
  const ModelConfig gemma = imported("gemma3", {{"rope_parameters", both}}).value().config;
  EXPECT_EQ(gemma.rope(AttentionKind::kFull),
            (RopeParameters{.theta = 1e6, .scaling = {.type = RopeScalingType::kLinear, .factor = 8}}));
  EXPECT_EQ(gemma.rope(AttentionKind::kSliding), RopeParameters{.theta = 5000});
}

TEST_F(ImportHf, SlidingLayersAreWhereTheConfigHasThem) {
  const auto kinds = [&](const char* architecture, const json& changes) {
    return imported(architecture, changes).value().config.attention;
  };
  const auto full = AttentionKind::kFull, sliding = AttentionKind::kSliding;
  EXPECT_EQ(kinds("gemma3", {{"layer_types", nullptr}, {"sliding_window_pattern", 1}}), (std::vector{full, full}));
  EXPECT_EQ(kinds("gemma3", {{"layer_types", nullptr}}), (std::vector{sliding, sliding}));  // every sixth is full
  const json qwen = {{"sliding_window", 32}, {"max_window_layers", 1}};
  EXPECT_EQ(kinds("qwen2", qwen), (std::vector{full, full}));
  json used = qwen;
  used["use_sliding_window"] = true;
  EXPECT_EQ(kinds("qwen2", used), (std::vector{full, sliding}));
}

TEST_F(ImportHf, MistralIsALlamaWhoseLayersSlide) {
  const auto mistral = [&](json changes) {
    changes["model_type"] = "mistral";
    return imported("llama", changes).value().config;
  };
  ModelConfig expected = tiny_imported_config("llama");
  EXPECT_EQ(mistral({{"sliding_window", nullptr}}), expected);
  expected.attention.assign(expected.attention.size(), AttentionKind::kSliding);
  expected.sliding_window = 32;
  const ModelConfig found = mistral({{"sliding_window", 32}});
  EXPECT_EQ(found, expected);
  EXPECT_EQ(found.rope(AttentionKind::kSliding).theta, found.rope_theta);
  EXPECT_EQ(mistral(json::object()).sliding_window, 4096) << "what transformers takes where it is left out";
}

TEST_F(ImportHf, VariantsThatAreNotComputedAreRefusedByName) {
  EXPECT_EQ(error_after("llama", {{"model_type", "mixtral"}}),
            "'model_type' must be \"llama\", \"mistral\", \"qwen2\", \"qwen3\", \"gemma3_text\" or \"gemma3\", found \"mixtral\"");
  EXPECT_EQ(error_after("llama", {{"attention_bias", true}}), "'attention_bias' must be false, found true");
  EXPECT_EQ(error_after("llama", {{"mlp_bias", true}}), "'mlp_bias' must be false, found true");
  EXPECT_EQ(error_after("llama", {{"quantization_config", {{"bits", 4}}}}),
            "'quantization_config' must be null, found {\"bits\":4}");
  EXPECT_EQ(error_after("gemma3", {{"final_logit_softcapping", 30.0}}),
            "'final_logit_softcapping' must be null, found 30.0");
  EXPECT_EQ(error_after("gemma3", {{"hidden_activation", "relu"}}),
            "'hidden_act' must be \"silu\" or \"gelu_pytorch_tanh\", found 'relu'");
  EXPECT_EQ(error_after("llama", {{"eos_token_id", nullptr}}),
            "'eos_token_id' must be an integer, or a list of them, found null");
  EXPECT_EQ(error_after("llama", {{"some_tool", "whatever"}}), "accepted");
}

TEST_F(ImportHf, TensorsMustBeTheModels) {
  write("qwen2", {{"model_type", "llama"}});
  EXPECT_EQ(read_hf_directory(model_).error().message,
            (model_ / "model.safetensors").string() +
                ": tensor 'model.layers.0.self_attn.q_proj.bias' is not supported in a model of type llama");
  write("llama", {{"model_type", "qwen2"}});
  EXPECT_EQ(read_hf_directory(model_).error().message,
            model_.string() + ": tensor 'model.layers.0.self_attn.q_proj.bias' is missing");
}

TEST_F(ImportHf, AnIndexNamesFilesBesideIt) {
  write("llama", json::object(), 2);
  EXPECT_TRUE(read_hf_directory(model_).ok());
  const std::filesystem::path index = model_ / "model.safetensors.index.json";
  ASSERT_TRUE(write_file(index, R"({"weight_map": {"a": "../model-0.safetensors"}})").ok());
  EXPECT_EQ(read_hf_directory(model_).error().message,
            index.string() + ": 'weight_map' must name files beside it, found \"../model-0.safetensors\"");
  ASSERT_TRUE(write_file(index, "[]").ok());
  EXPECT_EQ(read_hf_directory(model_).error().message, index.string() + ": 'weight_map' must be an object, found null");
}

}  // namespace
}  // namespace ringflash
