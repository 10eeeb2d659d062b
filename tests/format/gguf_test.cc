// What the writer writes, the reader reads: every metadata type, shapes, data; and every accessor's errors.
#include "format/gguf.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>

#include "temporary_directory.h"

namespace ringflash {
namespace {

using testing::TemporaryDirectory;

GgufWriter::Producer counting_bytes(size_t size, int start) {
  return [=]() -> Result<std::vector<std::byte>> {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(start + static_cast<int>(i));
    return bytes;
  };
}

class GgufTest : public ::testing::Test {
 protected:
  Result<GgufFile> write_and_open(const GgufWriter& writer) {
    const Status status = writer.write(path_);
    EXPECT_TRUE(status) << status.error().message;
    return GgufFile::open(path_);
  }

  TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "file.gguf";
};

const std::map<std::string, GgufValue>& every_value() {
  static const std::map<std::string, GgufValue> values = {
      {"u8", uint8_t{200}},
      {"i8", int8_t{-100}},
      {"u16", uint16_t{60000}},
      {"i16", int16_t{-30000}},
      {"u32", uint32_t{4000000000}},
      {"i32", int32_t{-2000000000}},
      {"f32", 1.1f},
      {"no", false},
      {"yes", true},
      {"string", std::string("a \0 b\xff\u2581", 9)},
      {"empty string", std::string()},
      {"u64", std::numeric_limits<uint64_t>::max()},
      {"i64", std::numeric_limits<int64_t>::min()},
      {"f64", 0.1},
      {"array i32", GgufArray(std::vector<int32_t>{-1, 0, 1})},
      {"array u32", GgufArray(std::vector<uint32_t>{4000000000, 2})},
      {"array f32", GgufArray(std::vector<float>{0.1f, -0.0f})},
      {"array bool", GgufArray(std::vector<bool>{true, false, true})},
      {"array string", GgufArray(std::vector<std::string>{"", "x", "yy"})},
      {"empty array", GgufArray(std::vector<float>{})},
  };
  return values;
}

TEST_F(GgufTest, EveryMetadataTypeComesBack) {
  GgufWriter writer;
  for (const auto& [key, value] : every_value()) writer.set(key, value);
  const auto file = write_and_open(writer);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->metadata(), every_value());
  EXPECT_TRUE(file->tensors().empty());
}

TEST_F(GgufTest, TensorsComeBack) {
  GgufWriter writer;
  writer.add_tensor("f32", GgufType::kF32, {2, 3}, counting_bytes(24, 1));
  writer.add_tensor("q8", GgufType::kQ8_0, {1, 2, 2, 64}, counting_bytes(8 * 34, 2));
  writer.add_tensor("bf16", GgufType::kBF16, {5}, counting_bytes(10, 3));
  writer.add_tensor("f16", GgufType::kF16, {1}, counting_bytes(2, 4));
  writer.add_tensor("i8", GgufType::kI8, {7}, counting_bytes(7, 5));
  const auto file = write_and_open(writer);
  ASSERT_TRUE(file) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 5u);

  const GgufTensor* q8 = file->find("q8");
  ASSERT_NE(q8, nullptr);
  EXPECT_EQ(q8->type, GgufType::kQ8_0);
  EXPECT_EQ(q8->shape, (std::vector<int64_t>{1, 2, 2, 64}));
  EXPECT_EQ(file->find("q"), nullptr);

  const size_t sizes[] = {24, 8 * 34, 10, 2, 7};
  for (size_t i = 0; i < 5; ++i) {
    const auto expected = counting_bytes(sizes[i], static_cast<int>(i) + 1)().value();
    const auto& data = file->tensors()[i].data;
    EXPECT_EQ(std::vector<std::byte>(data.begin(), data.end()), expected) << i;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data.data()) % kGgufAlignment, 0u) << i;
  }
  EXPECT_EQ(file->file_bytes() % kGgufAlignment, 0u);  // ggml reads the last tensor's padding too
}

// The bytes as the specification lays them out, typed by hand: writer and reader cannot agree on a wrong
// layout.
TEST_F(GgufTest, BytesAreTheSpecifications) {
  GgufWriter writer;
  writer.set("k", uint32_t{7});
  writer.add_tensor("t", GgufType::kI8, {3, 2}, counting_bytes(6, 1));
  ASSERT_TRUE(writer.write(path_));
  std::string expected(
      "GGUF\x03\0\0\0"                           // magic, version
      "\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0"     // one tensor, one key
      "\x01\0\0\0\0\0\0\0k\x04\0\0\0\x07\0\0\0"  // "k", u32, 7
      "\x01\0\0\0\0\0\0\0t\x02\0\0\0"            // "t", two dimensions
      "\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0"     // innermost first
      "\x18\0\0\0\0\0\0\0\0\0\0\0",              // I8, offset 0
      24 + 17 + 13 + 16 + 12);
  expected.resize(96, '\0');
  expected += std::string("\x01\x02\x03\x04\x05\x06", 6);
  expected.resize(128, '\0');
  EXPECT_EQ(read_file(path_).value(), expected);
}

TEST_F(GgufTest, AccessorsNameKeyTypeAndFinding) {
  GgufWriter writer;
  for (const auto& [key, value] : every_value()) writer.set(key, value);
  const auto file = write_and_open(writer);
  ASSERT_TRUE(file) << file.error().message;

  for (const char* key : {"u8", "i8", "u16", "i16", "u32", "i32", "i64"})
    EXPECT_TRUE(file->integer(key)) << key;
  EXPECT_EQ(file->integer("i64").value(), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(file->number("f64").value(), 0.1);
  EXPECT_EQ(file->number("f32").value(), static_cast<double>(1.1f));
  EXPECT_EQ(file->boolean("yes").value(), true);
  EXPECT_EQ(file->text("array string").ok(), false);
  EXPECT_EQ(file->array("array string").value().index(), 4u);

  EXPECT_EQ(file->integer("u64").error().message,
            path_.string() + ": 'u64' must be an integer below 2^63, found u64 18446744073709551615");
  EXPECT_EQ(file->integer("yes").error().message,
            path_.string() + ": 'yes' must be an integer below 2^63, found bool 1");
  EXPECT_EQ(file->boolean("u8").error().message, path_.string() + ": 'u8' must be a bool, found u8 200");
  EXPECT_EQ(file->number("array f32").error().message,
            path_.string() + ": 'array f32' must be a number, found an array of 2 f32");
  EXPECT_EQ(file->text("nothing").error().message,
            path_.string() + ": 'nothing' must be a string, but the file has no such key");
  EXPECT_EQ(file->array("string").error().message,
            path_.string() + ": 'string' must be an array, found string 'a \\x00 b\\xff\\xe2\\x96\\x81'");
}

TEST_F(GgufTest, AFailingProducerLeavesTheOldFile) {
  ASSERT_TRUE(write_file(path_, "old"));
  GgufWriter writer;
  writer.add_tensor("t", GgufType::kI8, {6},
                    []() -> Result<std::vector<std::byte>> { return Error{"no data"}; });
  EXPECT_EQ(writer.write(path_).error().message, "no data");
  EXPECT_EQ(read_file(path_).value(), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_.path()), {}), 1);
}

TEST(GgufBytes, AreWholeBlocksAndDoNotOverflow) {
  EXPECT_EQ(gguf_bytes(GgufType::kF32, 3).value(), 12u);
  EXPECT_EQ(gguf_bytes(GgufType::kQ8_0, 64).value(), 68u);
  EXPECT_FALSE(gguf_bytes(GgufType::kQ8_0, 33));
  EXPECT_FALSE(gguf_bytes(GgufType::kF32, 1ull << 62));
}

}  // namespace
}  // namespace ringflash
