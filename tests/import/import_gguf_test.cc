#include "import/import_gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "import/foreign_files.h"
#include "import/import_model.h"
#include "kernels/rope.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::foreign_weights;
using testing::ForeignWeights;
using testing::tiny_imported_config;

class ImportGguf : public ::testing::Test {
 protected:
  /// The error of a Llama file after a change, without the file's name; "accepted" if there is none.
  std::string error_after(const std::function<void(GgufWriter&)>& change, const std::string& architecture = "llama") {
    const ModelConfig config = tiny_imported_config(architecture);
    testing::write_foreign_gguf(file_, architecture, config, foreign_weights(config, 1), change);
    const auto model = read_foreign_gguf(file_);
    if (model) return "accepted";
    const std::string place = file_.string() + ": ";
    EXPECT_TRUE(model.error().message.starts_with(place)) << model.error().message;
    return model.error().message.substr(std::min(place.size(), model.error().message.size()));
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path file_ = directory_ / "model.gguf";
};

TEST_F(ImportGguf, EveryArchitectureComesBackAsItWas) {
  for (const char* architecture : testing::kImportedArchitectures) {
    SCOPED_TRACE(architecture);
    const ModelConfig config = tiny_imported_config(architecture);
    const ForeignWeights weights = foreign_weights(config, 1);
    testing::write_foreign_gguf(file_, architecture, config, weights);
    const auto model = read_foreign_gguf(file_);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->architecture, architecture);
    EXPECT_EQ(model->config, config);
    ASSERT_EQ(model->tensors.size(), weights.size());
    for (const ImportedTensor& tensor : model->tensors) {
      EXPECT_EQ(tensor.read().value(), weights.at(tensor.spec.name)) << tensor.spec.name;
      EXPECT_EQ(tensor.dtype, DType::kF32);
    }
  }
}

TEST_F(ImportGguf, WhatIsNotKnownIsRefusedByItsName) {
  EXPECT_EQ(error_after([](GgufWriter& w) { w.set("general.architecture", std::string("mamba")); }),
            "architecture 'mamba' is not supported; those that are: llama, qwen2, qwen3, gemma3");
  EXPECT_EQ(error_after([](GgufWriter& w) { w.set("llama.logit_scale", 2.0); }),
            "'llama.logit_scale' is not supported");
  EXPECT_EQ(error_after([](GgufWriter& w) { w.set("llama.expert_count", uint32_t{8}); }),
            "'llama.expert_count' must be 0, found 8");
  EXPECT_EQ(error_after([](GgufWriter& w) { w.set("llama.rope.dimension_count", uint32_t{8}); }),
            "'llama.rope.dimension_count' must be 16, found 8");
  EXPECT_EQ(error_after([](GgufWriter& w) { w.set("llama.rope.scaling.type", std::string("longrope")); }),
            "'rope_scaling.rope_type' must be \"default\", \"linear\", \"llama3\" or \"yarn\", found 'longrope'");
  const auto zeros = [](size_t count) { return [=] { return std::vector<std::byte>(count * sizeof(float)); }; };
  EXPECT_EQ(error_after([&](GgufWriter& w) { w.add_tensor("blk.0.attn_q.bias", GgufType::kF32, {64}, zeros(64)); }),
            "tensor 'blk.0.attn_q.bias' is not supported in a model of architecture llama");
  EXPECT_EQ(error_after([&](GgufWriter& w) { w.add_tensor("rope_freqs.weight", GgufType::kF32, {8}, zeros(8)); }),
            "tensor 'rope_freqs.weight': expected Llama 3's divisors of angles (factor 8 or 32 of 8192 positions), "
            "found others");
  EXPECT_EQ(error_after([](GgufWriter& w) { w.set("split.count", uint16_t{3}); }),
            "one of a model's 3 files; expected the whole model in one (llama.cpp's gguf-split --merge joins them)");
}

TEST_F(ImportGguf, KeysThatChangeNothingAreIgnored) {
  EXPECT_EQ(error_after([](GgufWriter& w) {
              w.set("llama.rope.scaling.finetuned", true);
              w.set("llama.tensor_data_layout", std::string("Meta AI original pth"));
              w.set("llama.rope.scale_linear", 1.0f);
              w.set("split.count", uint16_t{1});
            }),
            "accepted");
}

TEST_F(ImportGguf, HostileSizesAreRefused) {
  for (const char* key : {"block_count", "attention.head_count", "context_length", "attention.head_count_kv",
                          "embedding_length", "feed_forward_length"}) {
    for (const uint32_t value : {0u, 1u << 31, ~0u}) {
      const std::string name = std::string("llama.") + key;
      if (name == "llama.context_length" && value != 0) continue;  // a long context is just that
      EXPECT_NE(error_after([&](GgufWriter& w) { w.set(name, value); }), "accepted") << key << " " << value;
    }
  }
}

TEST_F(ImportGguf, ScalingOfAnglesIsRead) {
  const ModelConfig config = tiny_imported_config("qwen2");
  testing::write_foreign_gguf(file_, "qwen2", config, foreign_weights(config, 1), [](GgufWriter& w) {
    w.set("qwen2.rope.scaling.type", std::string("yarn"));
    w.set("qwen2.rope.scaling.factor", 4.0f);
    w.set("qwen2.rope.scaling.original_context_length", uint32_t{64});
  });
  const RopeScaling expected{.type = RopeScalingType::kYarn,
                             .factor = 4,
                             .original_positions = 64,
                             .attention_factor = yarn_attention_factor(4)};
  EXPECT_EQ(read_foreign_gguf(file_).value().config.rope_scaling, expected);
  testing::write_foreign_gguf(file_, "qwen2", config, foreign_weights(config, 1),
                              [](GgufWriter& w) { w.set("qwen2.rope.scale_linear", 2.0f); });
  const RopeScaling linear{.type = RopeScalingType::kLinear, .factor = 2};
  EXPECT_EQ(read_foreign_gguf(file_).value().config.rope_scaling, linear);
}

TEST_F(ImportGguf, Llama3IsRecognisedByItsDivisors) {
  ModelConfig config = tiny_imported_config("llama");
  config.rope_theta = 500000;
  const RopeScaling scaling{.type = RopeScalingType::kLlama3, .factor = 32, .original_positions = 8192};
  const auto plain = kernels::rope_frequencies(config.head_dim, {.theta = config.rope_theta});
  const auto scaled = kernels::rope_frequencies(config.head_dim, {.theta = config.rope_theta, .scaling = scaling});
  std::vector<float> divisors;
  for (size_t i = 0; i < plain.size(); ++i) divisors.push_back(static_cast<float>(plain[i] / scaled[i]));
  EXPECT_EQ(divisors.front(), 1.0f);
  EXPECT_EQ(divisors.back(), 32.0f);
  testing::write_foreign_gguf(file_, "llama", config, foreign_weights(config, 1), [&](GgufWriter& w) {
    const auto bytes = std::as_bytes(std::span(divisors));
    w.add_tensor("rope_freqs.weight", GgufType::kF32, {8},
                 [=] { return std::vector<std::byte>(bytes.begin(), bytes.end()); });
  });
  EXPECT_EQ(read_foreign_gguf(file_).value().config.rope_scaling, scaling);
}

}  // namespace
}  // namespace ringflash
