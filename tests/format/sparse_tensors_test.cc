// Metadata of sparse tensors that do not fit together are refused by name.
#include "format/sparse_tensors.h"

#include <gtest/gtest.h>

#include <functional>

#include "format/tiny_checkpoint.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

const std::string kName = layer_tensor(0, "self_attn.q_proj.weight");  // [64, 64] in the tiny config

class SparseTensorsTest : public ::testing::Test {
 protected:
  /// What is read of a file with one sparse tensor, after `spoil` had its way with the writer.
  Result<SparseTensors> read(const std::function<void(GgufWriter&)>& spoil,
                             std::vector<int64_t> shape = blob_shape(kFormat), GgufType type = GgufType::kI8) {
    GgufWriter writer;
    write_sparse_tensors({{kName, kFormat}}, writer);
    const int64_t elements = shape[0] * shape[1] * shape[2];
    const auto zeros = [=] { return Result(std::vector<std::byte>(gguf_bytes(type, elements).value())); };
    writer.add_tensor(kName, type, std::move(shape), zeros);
    spoil(writer);
    EXPECT_TRUE(writer.write(path_));
    return read_sparse_tensors(GgufFile::open(path_).value(), inventory_);
  }
  std::string error_of(const std::string& key, GgufArray value) {
    const auto tensors = read([&](GgufWriter& writer) { writer.set("ringflash.sparse." + key, std::move(value)); });
    return tensors ? "accepted" : tensors.error().message;
  }

  static constexpr SparseFormat kFormat{.bits = SparseBits::k4, .shape = {64, 64, 12}, .base = -3};
  const std::vector<TensorSpec> inventory_ = tensor_inventory(testing::tiny_config());
  const testing::TemporaryDirectory directory_{testing::memory_folder()};
  const std::filesystem::path path_ = directory_ / "file.gguf";
};

TEST_F(SparseTensorsTest, ComesBack) {
  const auto tensors = read([](GgufWriter&) {});
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 1u);
  const SparseFormat& format = tensors->at(kName);
  EXPECT_EQ(format.bits, SparseBits::k4);
  EXPECT_EQ(format.shape.rows, 64);
  EXPECT_EQ(format.shape.nonzeros, 12);
  EXPECT_EQ(format.base, -3);
}

TEST_F(SparseTensorsTest, AFileWithoutThemHasNone) {
  GgufWriter writer;
  ASSERT_TRUE(writer.write(path_));
  EXPECT_TRUE(read_sparse_tensors(GgufFile::open(path_).value(), inventory_).value().empty());
}

TEST_F(SparseTensorsTest, WhatDoesNotFitIsNamed) {
  using Names = std::vector<std::string>;
  using Numbers = std::vector<int32_t>;
  const std::string place = "sparse tensor '" + kName + "': ";
  EXPECT_EQ(error_of("formats", Names{"s3"}), place + "expected format 's4' or 's8', found 's3'");
  EXPECT_EQ(error_of("nonzeros", Numbers{13}), place + "expected 4, 8, 12 or 16 to 64 weights of 64, found 13");
  EXPECT_EQ(error_of("nonzeros", Numbers{-4}), place + "expected 4, 8, 12 or 16 to 64 weights of 64, found -4");
  EXPECT_EQ(error_of("nonzeros", Numbers{8}),
            place + "expected a blob of 4 x 1 superblocks of 176 bytes, found another shape");
  EXPECT_EQ(error_of("base_exponents", Numbers{84}),
            place + "expected a base exponent between -126 and 83, found 84");
  EXPECT_EQ(error_of("tensors", Names{"model.norm.weight"}),
            "'ringflash.sparse.tensors' must name linear tensors of the model, found 'model.norm.weight'");
  const std::string other = layer_tensor(0, "self_attn.o_proj.weight");
  EXPECT_EQ(error_of("tensors", Names{other}), "sparse tensor '" + other + "': the file has no such tensor");
  EXPECT_EQ(error_of("nonzeros", Numbers{12, 12}),
            "'ringflash.sparse.nonzeros' must have as many entries as 'ringflash.sparse.tensors' (1), found 2");
  EXPECT_EQ(error_of("nonzeros", Names{"12"}), "'ringflash.sparse.nonzeros' must be an array of i32");
}

TEST_F(SparseTensorsTest, BlobsOfTheWrongShapeOrTypeAreNamed) {
  const std::string place = "sparse tensor '" + kName + "': ";
  EXPECT_EQ(read([](GgufWriter&) {}, {4, 1, 255}).error().message,
            place + "expected a blob of 4 x 1 superblocks of 256 bytes, found another shape");
  EXPECT_EQ(read([](GgufWriter&) {}, {4, 1, 256}, GgufType::kF32).error().message,
            place + "expected type I8, found F32");
}

}  // namespace
}  // namespace ringflash
