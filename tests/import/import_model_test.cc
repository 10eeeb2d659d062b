#include "import/import_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/file.h"
#include "base/float16.h"
#include "format/checkpoint.h"
#include "import/foreign_files.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::ForeignWeights;

class ImportModel : public ::testing::Test {
 protected:
  void write_source() { testing::write_foreign_gguf(source_, "gemma3", config_, weights_); }

  testing::TemporaryDirectory directory_;
  std::filesystem::path source_ = directory_ / "model.gguf", out_ = directory_ / "out";
  ModelConfig config_ = testing::tiny_imported_config("gemma3");
  ForeignWeights weights_ = testing::foreign_weights(config_, 1);
};

TEST_F(ImportModel, WritesConfigAndWeights) {
  write_source();
  int64_t last = 0;
  const auto report = import_model(source_, out_, {.progress = [&](int64_t done, int64_t) { last = done; }});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(last, std::ssize(weights_));
  EXPECT_EQ(report->stored_types, (std::map<std::string, int64_t>{{"F32", last}}));
  EXPECT_EQ(report->weight_bytes, std::filesystem::file_size(out_ / "model.safetensors"));
  EXPECT_EQ(load_config(out_ / "config.json").value(), config_);
  const auto file = SafetensorsFile::open(out_ / "model.safetensors");
  ASSERT_TRUE(file) << file.error().message;
  const auto checkpoint = open_checkpoint(out_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(std::ssize(checkpoint->vocabulary.pieces), config_.vocab_size);
  for (const auto& [name, values] : weights_) EXPECT_EQ(to_floats(*file->find(name)), values) << name;
}

TEST_F(ImportModel, HalvesStayHalves) {
  const ModelConfig llama = testing::tiny_imported_config("llama");
  testing::write_hf_directory(directory_ / "hf", testing::hf_config("llama", llama), llama,
                              testing::foreign_weights(llama, 2));
  const auto file = SafetensorsFile::open(directory_ / "hf/model.safetensors").value();
  std::vector<std::vector<bf16>> kept;
  std::vector<TensorView> views;
  for (const TensorView& view : file.tensors()) {
    std::vector<bf16>& halves = kept.emplace_back();
    for (const float value : to_floats(view)) halves.push_back(to_bf16(value));
    views.push_back({view.name, DType::kBF16, view.shape, std::as_bytes(std::span(halves))});
  }
  ASSERT_TRUE(write_safetensors(directory_ / "hf/model.safetensors", views).ok());
  ASSERT_TRUE(import_model(directory_ / "hf", out_, {}).ok());
  const auto imported = SafetensorsFile::open(out_ / "model.safetensors").value();
  for (const TensorView& view : views) {
    EXPECT_EQ(imported.find(view.name)->dtype, DType::kBF16);
    EXPECT_TRUE(std::ranges::equal(imported.find(view.name)->data, view.data)) << view.name;
  }
}

TEST_F(ImportModel, WhatIsThereIsKept) {
  write_source();
  std::filesystem::create_directory(out_);
  ASSERT_TRUE(write_file(out_ / "config.json", "{}").ok());
  EXPECT_EQ(import_model(source_, out_, {}).error().message,
            out_.string() + ": expected a directory that is empty or not there yet (or --force)");
  EXPECT_EQ(read_file(out_ / "config.json").value(), "{}");
  EXPECT_TRUE(import_model(source_, out_, {.force = true}).ok());
  EXPECT_EQ(load_config(out_ / "config.json").value(), config_);
}

TEST_F(ImportModel, WeightsMustBeFinite) {
  weights_["model.layers.1.mlp.up_proj.weight"][7] = std::numeric_limits<float>::quiet_NaN();
  write_source();
  EXPECT_EQ(import_model(source_, out_, {}).error().message,
            source_.string() + ": tensor 'model.layers.1.mlp.up_proj.weight': element 7 must be finite, found nan");
  EXPECT_FALSE(std::filesystem::exists(out_ / "config.json"));
}

TEST_F(ImportModel, NamesTheMissingSource) {
  EXPECT_NE(import_model(directory_ / "nowhere", out_, {}).error().message.find("nowhere"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(out_));
}

}  // namespace
}  // namespace ringflash
