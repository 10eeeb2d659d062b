// No content of a safetensors file may crash, hang or fill the memory.
#include <gtest/gtest.h>

#include "format/mutations.h"
#include "format/safetensors.h"
#include "format/tiny_checkpoint.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

class SafetensorsHostileTest : public ::testing::Test {
 protected:
  Result<SafetensorsFile> open(std::string_view bytes) {
    testing::write_plain(path_, bytes);
    return SafetensorsFile::open(path_);
  }
  static std::string file_of(const std::string& header, size_t data_bytes) {
    const uint64_t size = header.size();
    return std::string(reinterpret_cast<const char*>(&size), 8) + header + std::string(data_bytes, 'd');
  }
  /// What the reader says of the file, without the path.
  std::string error_of(std::string_view bytes) {
    const auto file = open(bytes);
    return file ? "accepted" : file.error().message.substr(path_.string().size() + 2);
  }
  std::string error_of(const std::string& header, size_t data_bytes) {
    return error_of(file_of(header, data_bytes));
  }
  bool survives(std::string_view bytes) {
    const auto file = open(bytes);
    if (!file) return !file.error().message.empty();
    uint64_t sum = 0;
    for (const TensorView& tensor : file->tensors()) sum += testing::sum_of(tensor.data);
    return sum <= 255 * bytes.size();  // no byte belongs to two tensors
  }

  std::string small_file() {
    return file_of(
        R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
        R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]}}  )",
        22);
  }
  std::string model_file() {
    const ModelConfig config = testing::tiny_config();
    EXPECT_TRUE(testing::write_weights(path_, config, testing::random_weights(config)));
    return read_file(path_).value();
  }

  testing::TemporaryDirectory directory_{testing::memory_folder()};
  std::filesystem::path path_ = directory_ / "file.safetensors";
};

TEST_F(SafetensorsHostileTest, EveryTruncationIsAnError) {
  const std::string whole = small_file();
  ASSERT_TRUE(open(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto file = open(whole.substr(0, size));
    ASSERT_FALSE(file) << size << " of " << whole.size() << " bytes";
    ASSERT_TRUE(file.error().message.starts_with(path_.string() + ": ")) << file.error().message;
  }
}

TEST_F(SafetensorsHostileTest, AModelCutAtEveryKilobyteIsAnError) {
  const std::string whole = model_file();
  ASSERT_TRUE(open(whole));
  for (size_t size = 0; size < whole.size(); size += 1024) ASSERT_FALSE(open(whole.substr(0, size))) << size;
}

TEST_F(SafetensorsHostileTest, EveryFlippedBitIsSurvived) {
  std::string bytes = small_file();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    ASSERT_TRUE(survives(bytes)) << "bit " << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
}

TEST_F(SafetensorsHostileTest, RandomlySpoiledFilesAreSurvived) {
  Rng rng(2024);
  const std::string small = small_file();
  for (int i = 0; i < 4000; ++i) {
    ASSERT_TRUE(survives(testing::mutate(small, rng))) << "iteration " << i;
    // The same within a header whose length is right.
    ASSERT_TRUE(survives(file_of(testing::mutate(small.substr(8, small.size() - 30), rng), 22)))
        << "iteration " << i;
  }
}

TEST_F(SafetensorsHostileTest, HeaderLengthsAreChecked) {
  EXPECT_EQ(error_of(""), "byte 0: expected 8 bytes for the header's length, found 0 before the end");
  EXPECT_EQ(error_of(std::string(8, '\xff')),
            "byte 0: expected a header of at most 100 MB, found 18446744073709551615 bytes");
  EXPECT_EQ(error_of(std::string("\x10\0\0\0\0\0\0\0{}", 10)),
            "byte 8: expected 16 bytes for the header, found 2 before the end");
}

TEST_F(SafetensorsHostileTest, BadJsonIsRefused) {
  EXPECT_NE(error_of("{\"a\"", 0).find("not valid JSON: parse error at line 1, column 5"), std::string::npos);
  EXPECT_NE(error_of(std::string(8, '\0')), "accepted");
  EXPECT_EQ(error_of("[]", 0), "expected a header that is a JSON object, found []");
  EXPECT_EQ(error_of("{\"a\":1}", 0),
            "tensor 'a': expected an object of 'dtype', 'shape' and 'data_offsets', found 1");
  EXPECT_EQ(error_of(std::string(1'000'000, '['), 0), "expected JSON of at most 32 levels, found more");
  EXPECT_EQ(error_of(R"({"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},)"
                     R"("a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}})",
                     1),
            "expected each key once, found 'a' again");
  EXPECT_NE(error_of("{\"\xff\":1}", 0).find("not valid JSON"), std::string::npos);
  EXPECT_EQ(error_of(R"({"__metadata__":{"n":1}})", 0), "'__metadata__' must hold strings, found 1 for 'n'");
  EXPECT_EQ(error_of(R"({"__metadata__":"x"})", 0),
            "'__metadata__' must be an object of strings, found \"x\"");
}

TEST_F(SafetensorsHostileTest, BadTensorsAreRefused) {
  const auto one = [&](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return error_of(
        R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}", 8);
  };
  EXPECT_EQ(one(R"("F32")", "[2]", "[0,8]"), "accepted");
  EXPECT_EQ(one(R"("F64")", "[1]", "[0,8]"),
            "tensor 't': 'dtype' must be one of F32, F16, BF16, I64, I32, I8, U8, found \"F64\"");
  EXPECT_EQ(one("7", "[2]", "[0,8]"),
            "tensor 't': 'dtype' must be one of F32, F16, BF16, I64, I32, I8, U8, found 7");
  for (const std::string shape :
       {"8", "[-1]", "[2.0]", "[18446744073709551615]", "[\"2\"]", "[[2]]", "null"}) {
    EXPECT_EQ(one(R"("F32")", shape, "[0,8]"),
              "tensor 't': 'shape' must be an array of integers from 0, found " + shape);
  }
  EXPECT_EQ(one(R"("F32")", "[4611686018427387904,4]", "[0,8]"),
            "tensor 't': 'shape' must give less than 2^63 bytes, found [4611686018427387904,4]");
  for (const std::string offsets : {"[0]", "[0,8,8]", "[8,0]", "[0,9]", "[9,9]", "[]"}) {
    EXPECT_EQ(
        one(R"("F32")", "[2]", offsets),
        "tensor 't': 'data_offsets' must be a begin and an end within the 8 bytes of data, found " + offsets);
  }
  EXPECT_EQ(one(R"("F32")", "[3]", "[0,8]"),
            "tensor 't': 'data_offsets' must be 12 bytes apart for F32 [3], found [0,8]");
}

TEST_F(SafetensorsHostileTest, GapsAndOverlapsAreRefused) {
  const auto two = [&](const std::string& a, const std::string& b) {
    return error_of(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":)" + a +
                        R"(},"b":{"dtype":"I8","shape":[4],"data_offsets":)" + b + "}}",
                    8);
  };
  EXPECT_EQ(two("[0,4]", "[4,8]"), "accepted");
  EXPECT_EQ(two("[4,8]", "[0,4]"), "accepted");
  EXPECT_EQ(two("[0,4]", "[2,6]"),
            "tensor 'b': expected data from offset 4, where the tensor before it ends, found offset 2");
  EXPECT_EQ(two("[0,4]", "[0,4]"),
            "tensor 'b': expected data from offset 4, where the tensor before it ends, found offset 0");
  EXPECT_EQ(error_of(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[4,8]}})", 8),
            "tensor 'a': expected data from offset 0, where the tensor before it ends, found offset 4");
  EXPECT_EQ(error_of(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}})", 8),
            "expected 4 bytes of data, as the header says, found 8");
}

}  // namespace
}  // namespace ringflash
