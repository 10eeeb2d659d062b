#include "format/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/float16.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

class SafetensorsTest : public ::testing::Test {
 protected:
  SafetensorsFile write_and_open(std::span<const TensorView> tensors,
                                 const std::map<std::string, std::string>& metadata = {}) {
    const Status status = write_safetensors(path_, tensors, metadata);
    EXPECT_TRUE(status) << status.error().message;
    return SafetensorsFile::open(path_).value();
  }

  testing::TemporaryDirectory directory_;
  std::filesystem::path path_ = directory_ / "model.safetensors";
};

TEST_F(SafetensorsTest, EveryTypeComesBack) {
  std::vector<std::byte> pattern(48);
  for (size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<std::byte>(i + 1);
  std::vector<TensorView> tensors;
  for (const DType dtype :
       {DType::kU8, DType::kI8, DType::kI32, DType::kI64, DType::kF16, DType::kBF16, DType::kF32}) {
    tensors.push_back({to_string(dtype), dtype, {2, 3}, std::span(pattern).first(6 * dtype_bytes(dtype))});
  }
  const SafetensorsFile file = write_and_open(tensors, {{"format", "pt"}, {"note", "\xe2\x96\x81"}});
  EXPECT_EQ(file.metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"note", "\xe2\x96\x81"}}));
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorView& read = file.tensors()[i];
    EXPECT_EQ(read.name, tensors[i].name);
    EXPECT_EQ(read.dtype, tensors[i].dtype);
    EXPECT_EQ(read.shape, tensors[i].shape);
    EXPECT_EQ(read.elements(), 6);
    EXPECT_TRUE(std::ranges::equal(read.data, tensors[i].data)) << read.name;
  }
}

// The bytes as the format lays them out, typed by hand.
TEST_F(SafetensorsTest, BytesAreTheFormats) {
  const std::vector<float> values = {1.0f, -2.0f};
  const TensorView tensor{"w", DType::kF32, {2}, bytes_of(values)};
  ASSERT_TRUE(write_safetensors(path_, std::span(&tensor, 1)));
  const std::string header = R"({"w":{"data_offsets":[0,8],"dtype":"F32","shape":[2]}}  )";
  ASSERT_EQ(header.size(), 56u);  // padded with spaces to a multiple of 8
  EXPECT_EQ(read_file(path_).value(),
            std::string("\x38\0\0\0\0\0\0\0", 8) + header + std::string("\0\0\x80\x3f\0\0\0\xc0", 8));
}

TEST_F(SafetensorsTest, ScalarsAndEmptyTensorsAreTensors) {
  const std::vector<float> one = {3.5f};
  const std::vector<TensorView> tensors = {{"empty", DType::kF32, {0, 7}, {}},
                                           {"scalar", DType::kF32, {}, bytes_of(one)},
                                           {"last", DType::kI8, {0}, {}}};
  const SafetensorsFile file = write_and_open(tensors);
  ASSERT_NE(file.find("empty"), nullptr);
  EXPECT_EQ(file.find("empty")->elements(), 0);
  EXPECT_TRUE(file.find("last")->data.empty());
  EXPECT_EQ(to_floats(*file.find("scalar")), one);
  EXPECT_EQ(write_and_open({}).tensors().size(), 0u);
}

TEST_F(SafetensorsTest, FloatsAreConvertedWhereverTheyLie) {
  const std::vector<float> values = {0.0f, 1.5f, -0.25f, 65504.0f};
  std::vector<bf16> brain;
  std::vector<fp16> half;
  for (const float v : values) {
    brain.push_back(to_bf16(v));
    half.push_back(to_fp16(v));
  }
  const std::vector<int8_t> odd = {1};
  const std::vector<TensorView> tensors = {
      {"odd", DType::kI8, {1}, bytes_of(odd)},  // what follows is unaligned
      {"f32", DType::kF32, {4}, bytes_of(values)},
      {"bf16", DType::kBF16, {4}, bytes_of(brain)},
      {"f16", DType::kF16, {4}, bytes_of(half)}};
  const SafetensorsFile file = write_and_open(tensors);
  EXPECT_EQ(to_floats(*file.find("f32")), values);
  EXPECT_EQ(to_floats(*file.find("f16")), values);
  EXPECT_EQ(to_floats(*file.find("bf16")), (std::vector<float>{0.0f, 1.5f, -0.25f, 65536.0f}));
}

TEST_F(SafetensorsTest, RequireNamesWhatIsWrong) {
  const std::vector<float> values(6);
  const TensorView tensor{"w", DType::kF32, {2, 3}, bytes_of(values)};
  const SafetensorsFile file = write_and_open(std::span(&tensor, 1));
  EXPECT_TRUE(file.require("w", std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.require("w", std::vector<int64_t>{3, 2}).error().message,
            path_.string() + ": tensor 'w': expected shape [3,2], found [2,3]");
  EXPECT_EQ(file.require("v", std::vector<int64_t>{3}).error().message,
            path_.string() + ": tensor 'v': expected shape [3], found no such tensor");
}

}  // namespace
}  // namespace ringflash
