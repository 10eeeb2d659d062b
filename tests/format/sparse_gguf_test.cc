// Metadata of sparse tensors that do not fit together are refused by name.
#include "format/sparse_gguf.h"

#include <gtest/gtest.h>

#include <functional>

#include "format/tiny_checkpoint.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

const std::string kName = layer_tensor(0, "self_attn.q_proj.weight");  // [64, 64] in the tiny config

class SparseGguf : public ::testing::Test {
 protected:
  /// What is read of a file with one sparse tensor, after `spoil` had its way with the writer.
  Result<SparseTensors> read(const std::function<void(GgufWriter&)>& spoil, int64_t bytes = kFormat.bytes(),
                             GgufType type = GgufType::kI8) {
    GgufWriter writer;
    write_sparse_tensors({{kName, kFormat}}, writer);
    const auto zeros = [=] { return Result(std::vector<std::byte>(gguf_bytes(type, bytes).value())); };
    writer.add_tensor(kName, type, {bytes}, zeros);
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

TEST_F(SparseGguf, ComesBack) {
  const auto tensors = read([](GgufWriter&) {});
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 1u);
  const SparseFormat& format = tensors->at(kName);
  EXPECT_EQ(format.bits, SparseBits::k4);
  EXPECT_EQ(format.shape.rows, 64);
  EXPECT_EQ(format.shape.nonzeros, 12);
  EXPECT_EQ(format.base, -3);
}

TEST_F(SparseGguf, AFileWithoutThemHasNone) {
  GgufWriter writer;
  ASSERT_TRUE(writer.write(path_));
  EXPECT_TRUE(read_sparse_tensors(GgufFile::open(path_).value(), inventory_).value().empty());
}

TEST_F(SparseGguf, WhatDoesNotFitIsNamed) {
  using Names = std::vector<std::string>;
  using Numbers = std::vector<int32_t>;
  const std::string place = path_.string() + ": sparse tensor '" + kName + "': ";
  EXPECT_EQ(error_of("formats", Names{"s3"}), place + "expected s4 or s8, found 's3'");
  EXPECT_EQ(error_of("nonzeros", Numbers{13}), place + "expected 4, 8, 12 or 16 nonzeros of 64, found 13");
  EXPECT_EQ(error_of("nonzeros", Numbers{-4}), place + "expected 4, 8, 12 or 16 nonzeros of 64, found -4");
  EXPECT_EQ(error_of("nonzeros", Numbers{8}), place + "expected 704 bytes, found 1024");
  EXPECT_EQ(error_of("base_exponents", Numbers{84}), place + "the base exponent 84 is out of range");
  EXPECT_EQ(error_of("base_exponents", Numbers{-127}), place + "the base exponent -127 is out of range");
  EXPECT_EQ(error_of("formats", Names{"s8"}), place + "the base exponent -3 is out of range");
  EXPECT_EQ(error_of("names", Names{"model.norm.weight"}),
            path_.string() + ": sparse tensor 'model.norm.weight': expected a linear tensor's name");
  const std::string other = layer_tensor(0, "self_attn.k_proj.weight");
  EXPECT_EQ(error_of("names", Names{other}), path_.string() + ": sparse tensor '" + other + "': is missing");
  EXPECT_EQ(error_of("nonzeros", Numbers{12, 12}),
            path_.string() + ": expected as many sparse formats, nonzeros and base exponents as names (1)");
  EXPECT_EQ(error_of("bases", Numbers{}), "accepted") << "an unknown key";
  EXPECT_EQ(error_of("nonzeros", Names{"12"}),
            path_.string() + ": 'ringflash.sparse.nonzeros' must be an array of i32");
}

TEST_F(SparseGguf, BlobsOfTheWrongSizeOrTypeAreNamed) {
  const std::string place = path_.string() + ": sparse tensor '" + kName + "': ";
  EXPECT_EQ(read([](GgufWriter&) {}, 1023).error().message, place + "expected 1024 bytes, found 1023");
  EXPECT_EQ(read([](GgufWriter&) {}, 256, GgufType::kF32).error().message, place + "expected type I8, found F32");
}

}  // namespace
}  // namespace ringflash
