#include "format/export_gguf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/float16.h"
#include "expect_close.h"
#include "format/config_gguf.h"
#include "format/dense_encoding.h"
#include "format/dequantize.h"
#include "format/quantize_sparse.h"
#include "format/sparse_tensors.h"
#include "format/tiny_checkpoint.h"
#include "format/tokenizer_gguf.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::tiny_config;
using testing::Weights;

class ExportGgufTest : public ::testing::Test {
 protected:
  Checkpoint checkpoint(const Weights& weights) {
    testing::write_checkpoint(directory_ / "checkpoint", config_, weights);
    return open_checkpoint(directory_ / "checkpoint").value();
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path out_ = directory_ / "model.gguf";
  ModelConfig config_ = tiny_config();
  Weights weights_ = testing::random_weights(config_);
};

TEST_F(ExportGgufTest, ConfigVocabularyAndEveryTensorArrive) {
  const Checkpoint source = checkpoint(weights_);
  for (const ExportFormat format : {ExportFormat::kBF16, ExportFormat::kQ8}) {
    const auto report = export_gguf(source, out_, format, {});
    ASSERT_TRUE(report) << report.error().message;
    const GgufFile file = GgufFile::open(out_).value();
    EXPECT_EQ(read_config(file).value(), config_);
    EXPECT_EQ(read_vocabulary(file).value(), source.vocabulary);
    const auto inventory = tensor_inventory(config_);
    ASSERT_EQ(file.tensors().size(), inventory.size());
    for (size_t i = 0; i < inventory.size(); ++i) {
      EXPECT_EQ(file.tensors()[i].name, inventory[i].name);
      EXPECT_EQ(file.tensors()[i].shape, inventory[i].shape);
    }
  }
}

TEST_F(ExportGgufTest, WeightsAreWithinTheirFormatsRounding) {
  const Checkpoint source = checkpoint(weights_);
  for (const ExportFormat format : {ExportFormat::kBF16, ExportFormat::kQ8, ExportFormat::kQ4, ExportFormat::kQ4_1, ExportFormat::kQ5_0}) {
    ASSERT_TRUE(export_gguf(source, out_, format, {}));
    const GgufFile file = GgufFile::open(out_).value();
    for (const TensorSpec& spec : tensor_inventory(config_)) {
      const GgufTensor& tensor = *file.find(spec.name);
      const std::vector<float>& original = weights_.at(spec.name);
      float largest = 0;
      for (const float w : original) largest = std::max(largest, std::abs(w));
      testing::Tolerance tolerance;
      // bf16 has 8 significant bits: half a unit in the last place is at most 2^-8 of the value. Q8_0: half a
      // step, max|w| / 127, whose rounding to fp16 is at most 2^-11 of it; the division's rounding is far
      // less.
      if (tensor.type == GgufType::kBF16) tolerance.relative = 0x1p-8;
      if (tensor.type == GgufType::kQ8_0) tolerance.absolute = 0.5 * largest / 127 * (1 + 0x1p-10);
      // Q4_0: a step is max|w| / 8, and what would be 8 steps becomes 7.
      if (tensor.type == GgufType::kQ4_0) tolerance.absolute = largest / 8 * (1 + 0x1p-10);
      // Q4_1: half of a 15th of what lies between the extremes, and the nearest of a fit to the least squares is not the
      // nearest of the extremes' 16: at most a step.
      if (tensor.type == GgufType::kQ4_1) tolerance.absolute = 2 * largest / 15 * (1 + 0x1p-10);
      // Q5_0: a step is max|w| / 16, and what would be 16 steps becomes 15.
      if (tensor.type == GgufType::kQ5_0) tolerance.absolute = largest / 16 * (1 + 0x1p-10);
      testing::expect_close(read_floats(tensor).value(), original, tolerance);
    }
  }
}

TEST_F(ExportGgufTest, EachRoleHasItsType) {
  const Checkpoint source = checkpoint(weights_);
  const auto type_of = [&](const std::string& name) { return GgufFile::open(out_).value().find(name)->type; };
  ASSERT_TRUE(export_gguf(source, out_, ExportFormat::kQ8, {}));
  EXPECT_EQ(type_of(kEmbeddingTensor), GgufType::kQ8_0);
  EXPECT_EQ(type_of(layer_tensor(0, "self_attn.q_proj.weight")), GgufType::kQ8_0);
  EXPECT_EQ(type_of(layer_tensor(0, "mlp.down_proj.weight")), GgufType::kBF16);  // rows of 48
  EXPECT_EQ(type_of(layer_tensor(0, "self_attn.router.weight")), GgufType::kF32);
  EXPECT_EQ(type_of(kFinalNormTensor), GgufType::kF32);
  ASSERT_TRUE(export_gguf(source, out_, ExportFormat::kBF16, {}));
  EXPECT_EQ(type_of(kEmbeddingTensor), GgufType::kBF16);
  EXPECT_EQ(type_of(layer_tensor(1, "self_attn.q_proj.weight")), GgufType::kBF16);
  EXPECT_EQ(type_of(layer_tensor(1, "input_layernorm.weight")), GgufType::kF32);
}

// Embeddings are not: their type says nothing of the other tensors'.
TEST_F(ExportGgufTest, WhatCameFromFewBitsStaysThere) {
  const std::string gate = layer_tensor(0, "mlp.gate_proj.weight"), up = layer_tensor(0, "mlp.up_proj.weight");
  const std::string q = layer_tensor(0, "self_attn.q_proj.weight"), k = layer_tensor(0, "self_attn.k_proj.weight");
  for (const auto& [name, type] :
       {std::pair(gate, GgufType::kQ4_1), std::pair(up, GgufType::kQ4_0), std::pair(k, GgufType::kQ5_0)}) {
    std::vector<float>& weights = weights_.at(name);
    const std::vector<std::byte> bytes = encode(weights, type);
    weights = read_floats({name, type, {std::ssize(weights)}, bytes}).value();
  }
  const Checkpoint source = checkpoint(weights_);
  const auto type_of = [&](const std::string& name) { return GgufFile::open(out_).value().find(name)->type; };
  for (const ExportFormat format : {ExportFormat::kAuto, ExportFormat::kQ4}) {
    ASSERT_TRUE(export_gguf(source, out_, format, {}));
    EXPECT_EQ(type_of(gate), GgufType::kQ4_1);
    EXPECT_EQ(type_of(up), GgufType::kQ4_0);
    EXPECT_EQ(type_of(k), format == ExportFormat::kAuto ? GgufType::kQ5_0 : GgufType::kQ4_0);
    EXPECT_EQ(type_of(q), format == ExportFormat::kAuto ? GgufType::kQ8_0 : GgufType::kQ4_0);
    EXPECT_EQ(type_of(kEmbeddingTensor), GgufType::kQ8_0);
    EXPECT_EQ(type_of(layer_tensor(0, "mlp.down_proj.weight")), GgufType::kBF16);  // rows of 48
  }
  ASSERT_TRUE(export_gguf(source, out_, ExportFormat::kQ4_1, {}));
  for (const std::string& name : {gate, up, q}) EXPECT_EQ(type_of(name), GgufType::kQ4_1);
}

TEST_F(ExportGgufTest, ReportAddsUp) {
  std::vector<std::pair<int64_t, int64_t>> calls;
  const auto report = export_gguf(checkpoint(weights_), out_, ExportFormat::kBF16,
                                  [&](int64_t done, int64_t total) { calls.emplace_back(done, total); });
  ASSERT_TRUE(report) << report.error().message;
  // By hand: per layer q, o 64*64; k, v 32*64; gate, up, down 48*64. Norms 5 of 64, one router of 64, all
  // fp32.
  EXPECT_EQ(report->linear_bytes, 2u * 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 48 * 64));
  EXPECT_EQ(report->embedding_bytes, 2u * 261 * 64);
  EXPECT_EQ(report->other_bytes, 4u * (5 * 64 + 64));
  EXPECT_EQ(report->file_bytes, std::filesystem::file_size(out_));
  EXPECT_GT(report->file_bytes, report->linear_bytes + report->embedding_bytes + report->other_bytes);
  const auto total = static_cast<int64_t>(tensor_inventory(config_).size());
  ASSERT_EQ(calls.size(), static_cast<size_t>(total));
  for (int64_t i = 0; i < total; ++i) EXPECT_EQ(calls[i], std::pair(i + 1, total));
}

TEST_F(ExportGgufTest, WeightsThatAreNoNumbersAreNamed) {
  const std::string name = layer_tensor(1, "mlp.up_proj.weight");
  const std::string place = (directory_ / "checkpoint/model.safetensors").string() + ": tensor '" + name +
                            "': element 77 must be a number that ";
  const auto error_with = [&](float bad, ExportFormat format) {
    Weights spoiled = weights_;
    spoiled.at(name)[77] = bad;
    const auto report = export_gguf(checkpoint(spoiled), out_, format, {});
    return report ? "accepted" : report.error().message;
  };
  ASSERT_TRUE(write_file(out_, "old"));
  const float infinity = std::numeric_limits<float>::infinity();
  for (const ExportFormat format : {ExportFormat::kBF16, ExportFormat::kQ8}) {
    EXPECT_TRUE(error_with(std::nanf(""), format).starts_with(place));
    EXPECT_TRUE(error_with(-infinity, format).starts_with(place));
  }
  EXPECT_EQ(error_with(1e9f, ExportFormat::kQ8),
            place + "Q8_0 can hold (at most 8319008.000000), found 1000000000.000000");
  EXPECT_TRUE(error_with(std::numeric_limits<float>::max(), ExportFormat::kBF16).starts_with(place));
  EXPECT_EQ(read_file(out_).value(), "old");
  EXPECT_EQ(error_with(1e9f, ExportFormat::kBF16), "accepted");
}

TEST_F(ExportGgufTest, SharedWeightsAreThereOnceBesideEachLayersPair) {
  config_.sharing = {.group_size = 2, .kinds = {"gate_proj"}, .rank = 4};
  weights_ = testing::random_weights(config_);
  const auto report = export_gguf(checkpoint(weights_), out_, ExportFormat::kQ8, {});
  ASSERT_TRUE(report) << report.error().message;
  const GgufFile file = GgufFile::open(out_).value();
  EXPECT_EQ(read_config(file).value(), config_);
  EXPECT_EQ(file.find(layer_tensor(0, "mlp.gate_proj.weight"))->type, GgufType::kQ8_0);
  EXPECT_EQ(file.find(layer_tensor(1, "mlp.gate_proj.weight")), nullptr);
  for (const int64_t layer : {0, 1}) {
    const std::string b = layer_tensor(layer, "mlp.gate_proj.delta_b");
    EXPECT_EQ(file.find(layer_tensor(layer, "mlp.gate_proj.delta_a"))->shape, (std::vector<int64_t>{48, 4}));
    EXPECT_EQ(file.find(b)->type, GgufType::kBF16);
    testing::expect_close(read_floats(*file.find(b)).value(), weights_.at(b), {.relative = 0x1p-8});
  }
  // By hand: q, o, k, v of both layers; gate once, up twice, down as bf16 twice; the pairs as bf16.
  const uint64_t q8 = 2 * (2 * 64 * 64 + 2 * 32 * 64) + 3 * 48 * 64, bf16 = 2 * 48 * 64 + 2 * 4 * (48 + 64);
  EXPECT_EQ(report->linear_bytes, q8 / 32 * 34 + 2 * bf16);
  EXPECT_EQ(report->linear_fp16_bytes, 2 * (q8 + bf16));
}

/// Keeps the first `keep` weights of each group of 64.
void prune(Weights& weights, const ModelConfig& config, int64_t keep) {
  for (const TensorSpec& spec : tensor_inventory(config)) {
    if (spec.role != TensorRole::kLinear) continue;
    std::vector<float>& values = weights.at(spec.name);
    for (int64_t i = 0; i < spec.elements(); ++i) {
      if (i % spec.shape[1] % kSparseInputs >= keep) values[i] = 0;
    }
  }
}

TEST_F(ExportGgufTest, SparseTensorsAreWhatTheQuantiserMakesOfThem) {
  config_.sparsity = {.pattern = SparsePattern::kFine, .keep = 8, .exceptions = {"layers.0.=none"}};
  prune(weights_, config_, 8);
  const Checkpoint source = checkpoint(weights_);
  for (const auto& [format, bits] : {std::pair{ExportFormat::kS4, SparseBits::k4}, {ExportFormat::kS8, SparseBits::k8}}) {
    const auto report = export_gguf(source, out_, format, {});
    ASSERT_TRUE(report) << report.error().message;
    const GgufFile file = GgufFile::open(out_).value();
    const SparseTensors sparse = read_sparse_tensors(file, tensor_inventory(config_)).value();
    EXPECT_EQ(sparse.size(), 6u);  // of layer 1, but for down_proj with its rows of 48
    for (const auto& [name, packed] : sparse) {
      const GgufTensor& tensor = *file.find(name);
      EXPECT_EQ(tensor.data.size(), static_cast<size_t>(packed.bytes()));
      EXPECT_EQ(packed.bits, bits);
      std::vector<float> decoded(weights_.at(name).size()), expected(decoded.size());
      const RowBlocks all{0, packed.shape.row_blocks()};
      dequantize(packed, tensor.data.data(), all, decoded.data());
      ASSERT_TRUE(fake_quantize(packed, weights_.at(name).data(), all, expected.data()));
      EXPECT_EQ(decoded, expected) << name;
    }
    EXPECT_EQ(file.find(layer_tensor(0, "self_attn.q_proj.weight"))->type, GgufType::kQ8_0);
    EXPECT_EQ(file.find(layer_tensor(1, "mlp.down_proj.weight"))->type, GgufType::kBF16);
    EXPECT_EQ(file.find(kEmbeddingTensor)->type, GgufType::kQ8_0);
  }
}

TEST_F(ExportGgufTest, WeightsThatAreNotSparseAreRefused) {
  const Checkpoint dense = checkpoint(weights_);
  EXPECT_NE(export_gguf(dense, out_, ExportFormat::kS4, {}).error().message.find("this format needs sparse weights"),
            std::string::npos);
  config_.sparsity = {.pattern = SparsePattern::kFine, .keep = 12};
  const auto report = export_gguf(checkpoint(weights_), out_, ExportFormat::kS4, {});
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("q_proj.weight': row 0, group 0: expected at most 12 weights that are not "
                                        "zero, found 64"),
            std::string::npos)
      << report.error().message;
}

TEST_F(ExportGgufTest, DamagedDescriptionsOfSparseTensorsAreNamed) {
  const std::string name = layer_tensor(0, "self_attn.q_proj.weight");
  const SparseFormat good{SparseBits::k4, {64, 64, 12}, 0};
  const auto error_with = [&](const SparseFormat& written, const SparseFormat& blob, const std::string& tensor) {
    GgufWriter writer;
    write_sparse_tensors({{tensor, written}}, writer);
    writer.add_tensor(name, GgufType::kI8, blob_shape(blob),
                      [&] { return std::vector<std::byte>(static_cast<size_t>(blob.bytes())); });
    EXPECT_TRUE(writer.write(out_));
    const auto read = read_sparse_tensors(GgufFile::open(out_).value(), tensor_inventory(config_));
    return read ? "accepted" : read.error().message;
  };
  EXPECT_EQ(error_with(good, good, name), "accepted");
  EXPECT_EQ(error_with({SparseBits::k4, {64, 64, 7}, 0}, good, name),
            "sparse tensor '" + name + "': expected 4, 8, 12 or 16 to 64 weights of 64, found 7");
  EXPECT_EQ(error_with({SparseBits::k4, {64, 64, 12}, 84}, good, name),
            "sparse tensor '" + name + "': expected a base exponent between -126 and 83, found 84");
  EXPECT_EQ(error_with(good, {SparseBits::k4, {48, 64, 12}, 0}, name),
            "sparse tensor '" + name +
                "': expected a blob of 4 x 1 superblocks of 256 bytes, found another shape");
  EXPECT_EQ(error_with(good, good, "model.norm.weight"),
            "'ringflash.sparse.tensors' must name linear tensors of the model, found 'model.norm.weight'");
}

TEST(ExportFormatNames, AreParsed) {
  EXPECT_EQ(parse_export_format("bf16").value(), ExportFormat::kBF16);
  EXPECT_EQ(parse_export_format("q8").value(), ExportFormat::kQ8);
  EXPECT_EQ(parse_export_format("q4_1").value(), ExportFormat::kQ4_1);
  EXPECT_EQ(parse_export_format("q5_0").value(), ExportFormat::kQ5_0);
  EXPECT_EQ(parse_export_format("auto").value(), ExportFormat::kAuto);
  EXPECT_EQ(parse_export_format("q9").error().message,
            "the format must be f32, bf16, q8, q4, q4_1, q5_0, auto, s8 or s4, found 'q9'");
}

}  // namespace
}  // namespace ringflash
