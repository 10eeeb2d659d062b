#include "runtime/model.h"

#include <gtest/gtest.h>

#include "model/tensors.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::TinyModelOptions;

class ModelFile : public ::testing::Test {
 protected:
  /// Loading's error without the file's name, "" if it loads.
  std::string load_error(const TinyModelOptions& options) {
    testing::write_tiny_gguf(path_, options);
    const Result<Model> model = Model::load(path_);
    if (model.ok()) return "";
    const std::string place = path_.string() + ": ";
    EXPECT_EQ(model.error().message.substr(0, place.size()), place);
    return model.error().message.substr(std::min(place.size(), model.error().message.size()));
  }

  TinyModelOptions options_;
  testing::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "model.gguf";
};

TEST_F(ModelFile, BindsWeightsWhereTheyLie) {
  options_.matrices = GgufType::kQ8_0;
  options_.config.tie_word_embeddings = false;
  const testing::TinyWeights weights = testing::write_tiny_gguf(path_, options_);
  const Model model = Model::load(path_).value();
  EXPECT_EQ(model.config(), options_.config);
  EXPECT_EQ(model.tokenizer().size(), 288);
  ASSERT_EQ(model.layers().size(), 4u);
  const LayerWeights& layer = model.layers()[2];
  EXPECT_EQ(layer.attention, AttentionKind::kRing);
  EXPECT_EQ(layer.gate_proj.w.type, GgufType::kQ8_0);
  EXPECT_EQ(layer.gate_proj.w.rows, 96);
  EXPECT_EQ(layer.gate_proj.w.columns, 64);
  EXPECT_FALSE(layer.gate_proj.has_delta());
  EXPECT_EQ(layer.router.type, GgufType::kF32);
  EXPECT_EQ(static_cast<const float*>(layer.router.data)[5],
            weights.at(layer_tensor(2, "self_attn.router.weight"))[5]);
  EXPECT_EQ(layer.mlp_norm[63],
            weights.at(layer_tensor(2, "post_attention_layernorm.weight"))[63]);
  EXPECT_EQ(model.layers()[1].router.data, nullptr);
  EXPECT_NE(model.head().data, model.embedding().data);
}

TEST_F(ModelFile, LayersOfAGroupReadTheSameBytes) {
  options_.config.sharing = {.group_size = 2, .kinds = {"up_proj"}, .rank = 4};
  testing::write_tiny_gguf(path_, options_);
  const Model model = Model::load(path_).value();
  const auto& layers = model.layers();
  EXPECT_EQ(layers[0].up_proj.w.data, layers[1].up_proj.w.data);
  EXPECT_NE(layers[0].up_proj.w.data, layers[2].up_proj.w.data);
  EXPECT_NE(layers[0].up_proj.delta_a.data, layers[1].up_proj.delta_a.data);
  EXPECT_EQ(layers[1].up_proj.delta_a.columns, 4);
  EXPECT_EQ(layers[1].up_proj.delta_b.rows, 4);
  EXPECT_NE(layers[0].gate_proj.w.data, layers[1].gate_proj.w.data);
}

TEST_F(ModelFile, ATiedHeadIsTheEmbedding) {
  testing::write_tiny_gguf(path_, options_);
  const Model model = Model::load(path_).value();
  EXPECT_EQ(model.head().data, model.embedding().data);
  EXPECT_EQ(model.head().rows, 288);
}

TEST_F(ModelFile, NamesTheMissingTensor) {
  for (const TensorSpec& spec : tensor_inventory(options_.config)) {
    options_.leave_out = spec.name;
    EXPECT_EQ(load_error(options_), "tensor '" + spec.name + "' is missing");
  }
}

TEST_F(ModelFile, NamesTheWrongShape) {
  options_.misshape = "model.layers.1.mlp.down_proj.weight";
  EXPECT_EQ(load_error(options_),
            "tensor '" + options_.misshape + "': expected shape [64, 96], found [65, 96]");
}

TEST_F(ModelFile, NamesTheWrongType) {
  options_.mistype = "model.layers.0.self_attn.q_proj.weight";
  EXPECT_EQ(load_error(options_),
            "tensor '" + options_.mistype + "': expected type F32 or BF16 or Q8_0 or Q4_0 or Q4_1 or Q5_0, found F16");
  options_.mistype = "model.layers.0.self_attn.router.weight";
  EXPECT_EQ(load_error(options_), "tensor '" + options_.mistype + "': expected type F32, found F16");
  options_.mistype = "model.norm.weight";
  EXPECT_EQ(load_error(options_), "tensor 'model.norm.weight': expected type F32, found F16");
}

TEST_F(ModelFile, WantsOnePiecePerRowOfTheEmbedding) {
  options_.config.vocab_size = 100;  // byte_vocabulary has at least 259 pieces
  options_.config.eos_token_id = 2;
  EXPECT_EQ(load_error(options_), "expected a tokenizer of vocab_size = 100 pieces, found 259");
}

TEST_F(ModelFile, ThatLooksAheadIsForLookingAt) {
  options_.config.attention_mode = AttentionMode::kBidirectional;
  EXPECT_EQ(load_error(options_), "'attention_mode' must be \"causal\" to generate, found 'bidirectional'");
  EXPECT_EQ(Model::inspect(path_).value().config(), options_.config);
  const auto back_only = [](ModelConfig& config) { config.attention_mode = AttentionMode::kCausal; };
  EXPECT_TRUE(Model::load(path_, back_only).ok());
}

TEST_F(ModelFile, NamesTheMissingFile) {
  const Result<Model> model = Model::load(directory_ / "nowhere.gguf");
  ASSERT_FALSE(model.ok());
  EXPECT_NE(model.error().message.find("nowhere.gguf"), std::string::npos);
}

}  // namespace
}  // namespace ringflash
