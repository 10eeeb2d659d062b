// No content of a GGUF file may crash, hang or fill the memory: cut, flipped, hand-made and randomly spoiled
// files.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "format/config_gguf.h"
#include "format/gguf.h"
#include "format/mutations.h"
#include "format/tiny_checkpoint.h"
#include "format/tokenizer_gguf.h"
#include "temporary_directory.h"
#include "text/sentencepiece_model.h"

namespace ringflash {
namespace {

using testing::write_plain;

/// Builds a file by hand, number by number.
class Bytes {
 public:
  template <typename T>
  Bytes& put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& put_string(const std::string& text) {
    put(uint64_t{text.size()});
    text_ += text;
    return *this;
  }
  Bytes& head(uint64_t tensors, uint64_t keys) {
    text_ += "GGUF";
    return put(uint32_t{3}).put(tensors).put(keys);
  }
  Bytes& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    put_string(name).put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t size : dims) put(size);
    return put(type).put(offset);
  }
  Bytes& data(size_t size) {
    text_.resize((text_.size() + 31) / 32 * 32 + size);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

class GgufHostileTest : public ::testing::Test {
 protected:
  Result<GgufFile> open(std::string_view bytes) {
    write_plain(path_, bytes);
    return GgufFile::open(path_);
  }
  /// What the reader says of the bytes, without the path.
  std::string error_of(const Bytes& bytes) {
    const auto file = open(bytes.text());
    return file ? "accepted" : file.error().message.substr(path_.string().size() + 2);
  }
  /// Opens and reads all that a user of the file would.
  bool survives(std::string_view bytes) {
    const auto file = open(bytes);
    refused_ += file ? 0 : 1;
    if (!file) return !file.error().message.empty();
    uint64_t sum = 0;
    for (const GgufTensor& tensor : file->tensors()) sum += testing::sum_of(tensor.data);
    (void)read_config(*file).ok();
    (void)read_vocabulary(*file).ok();
    return sum <= 255 * file->file_bytes() * file->tensors().size();
  }

  std::string small_file() {
    GgufWriter writer;
    writer.set("general.architecture", std::string("ringflash"));
    writer.set("flag", true);
    writer.set("list", GgufArray(std::vector<std::string>{"one", "two"}));
    writer.set("numbers", GgufArray(std::vector<float>{1, 2, 3}));
    const auto zeros = [](size_t size) { return [=] { return Result(std::vector<std::byte>(size)); }; };
    writer.add_tensor("a", GgufType::kF32, {2, 4}, zeros(32));
    writer.add_tensor("b", GgufType::kI8, {32}, zeros(32));
    return written(writer);
  }
  std::string model_file() {
    GgufWriter writer;
    write_config(testing::tiny_config(), writer);
    write_vocabulary(parse_sentencepiece_model(testing::tiny_tokenizer()).value(), writer);
    for (const TensorSpec& spec : tensor_inventory(testing::tiny_config())) {
      const auto size = static_cast<size_t>(spec.elements()) * 4;
      writer.add_tensor(spec.name, GgufType::kF32, spec.shape,
                        [=] { return Result(std::vector<std::byte>(size)); });
    }
    return written(writer);
  }
  std::string written(const GgufWriter& writer) {
    EXPECT_TRUE(writer.write(path_));
    return read_file(path_).value();
  }

  testing::TemporaryDirectory directory_{testing::memory_folder()};
  std::filesystem::path path_ = directory_ / "file.gguf";
  size_t refused_ = 0;  // by survives()
};

TEST_F(GgufHostileTest, EveryTruncationIsAnError) {
  const std::string whole = small_file();
  ASSERT_TRUE(open(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto file = open(whole.substr(0, size));
    ASSERT_FALSE(file) << size << " of " << whole.size() << " bytes";
    ASSERT_TRUE(file.error().message.starts_with(path_.string() + ": ")) << file.error().message;
  }
}

TEST_F(GgufHostileTest, AModelCutAtEveryKilobyteIsAnError) {
  const std::string whole = model_file();
  ASSERT_TRUE(open(whole));
  ASSERT_GT(whole.size(), 100u << 10);
  for (size_t size = 0; size < whole.size(); size += 1024) {
    ASSERT_FALSE(open(whole.substr(0, size))) << size << " of " << whole.size() << " bytes";
  }
}

TEST_F(GgufHostileTest, EveryFlippedBitOfTheHeaderIsSurvived) {
  std::string bytes = small_file();
  const size_t header = bytes.size() - 64;
  for (size_t bit = 0; bit < header * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    ASSERT_TRUE(survives(bytes)) << "bit " << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
  }
  EXPECT_GT(refused_, header * 3);  // names and values may change, most of the rest may not
}

TEST_F(GgufHostileTest, RandomlySpoiledFilesAreSurvived) {
  Rng rng(2024);
  const std::string small = small_file();
  const std::string model = model_file().substr(0, 20'000);  // header and vocabulary, where the structure is
  for (int i = 0; i < 10000; ++i) {
    ASSERT_TRUE(survives(testing::mutate(i % 4 == 0 ? model : small, rng))) << "iteration " << i;
  }
}

TEST_F(GgufHostileTest, SpoiledModelsWithAllTheirDataAreSurvived) {
  Rng rng(77);
  const std::string whole = model_file();
  for (int i = 0; i < 300; ++i) {
    const std::string header = testing::mutate(whole.substr(0, 20'000), rng);
    ASSERT_TRUE(survives(header + whole.substr(20'000))) << "iteration " << i;
  }
}

TEST_F(GgufHostileTest, OtherFilesAreNamedAsSuch) {
  EXPECT_EQ(error_of(Bytes()), "byte 0: expected 4 bytes for GGUF's magic number, found 0 before the end");
  EXPECT_EQ(error_of(Bytes().put(uint64_t{0x04034b50}).data(64)),
            "byte 0: expected \"GGUF\", found another kind of file");
  EXPECT_EQ(error_of(Bytes().put(kGgufMagic).put(uint32_t{2}).data(64)),
            "byte 4: expected GGUF version 3, found 2");
  EXPECT_FALSE(GgufFile::open(directory_ / "absent.gguf"));
  EXPECT_FALSE(GgufFile::open(directory_.path()));
}

TEST_F(GgufHostileTest, HugeCountsAreRefusedBeforeAllocating) {
  const uint64_t huge[] = {1000, 1ull << 32, 1ull << 61, 1ull << 63, ~0ull};
  for (const uint64_t n : huge) {
    const std::string found = ", found " + std::to_string(n);
    EXPECT_EQ(error_of(Bytes().head(n, 0)),
              "byte 8: expected a tensor count that fits the 8 bytes left" + found);
    EXPECT_EQ(error_of(Bytes().head(0, n)),
              "byte 16: expected a metadata count that fits the 0 bytes left" + found);
    for (const uint32_t element : {4u, 5u, 6u, 7u, 8u}) {
      EXPECT_EQ(
          error_of(Bytes().head(0, 1).put_string("k").put(uint32_t{9}).put(element).put(n).put(uint64_t{0})),
          "key 'k': byte 41: expected an array length that fits the 8 bytes left" + found);
    }
  }
  EXPECT_EQ(error_of(Bytes().head(0, 1).put(~0ull).data(64)),
            "byte 24: expected a metadata key of at most 65535 bytes, found 18446744073709551615");
  EXPECT_EQ(error_of(Bytes().head(0, 1).put_string("k").put(uint32_t{8}).put(~0ull).data(3)),
            "key 'k': byte 45: expected 18446744073709551615 bytes for a string, found 22 before the end");
}

TEST_F(GgufHostileTest, BadMetadataIsRefused) {
  const auto with = [](uint32_t type) { return Bytes().head(0, 1).put_string("k").put(type); };
  EXPECT_EQ(error_of(with(13).data(8)), "key 'k': byte 33: expected a value type from 0 to 12, found 13");
  EXPECT_EQ(error_of(with(7).put(uint8_t{2})), "key 'k': byte 37: expected a bool (0 or 1), found 2");
  EXPECT_EQ(error_of(with(9).put(uint32_t{7}).put(uint64_t{2}).put(uint8_t{1}).put(uint8_t{255})),
            "key 'k': byte 50: expected a bool (0 or 1), found 255");
  EXPECT_EQ(error_of(with(9).put(uint32_t{9}).put(uint64_t{0}).data(8)),  // an array of arrays
            "key 'k': byte 37: expected an array of u32 (4), i32 (5), f32 (6), bool (7) or string (8), "
            "found element type 9");
  Bytes twice;
  twice.head(0, 2).put_string("k").put(uint32_t{4}).put(uint32_t{1}).put_string("k").put(uint32_t{4}).put(2u);
  EXPECT_EQ(error_of(twice), "byte 54: expected each key once, found 'k' again");
}

TEST_F(GgufHostileTest, BadAlignmentsAreRefused) {
  for (const uint32_t alignment : {0u, 1u, 4u, 33u, 48u, 131072u, 1u << 31, ~0u}) {
    EXPECT_EQ(error_of(Bytes().head(0, 1).put_string("general.alignment").put(uint32_t{4}).put(alignment)),
              "'general.alignment' must be a u32, a power of two from 8 to 65536, found " +
                  std::to_string(alignment));
  }
  EXPECT_EQ(error_of(Bytes().head(0, 1).put_string("general.alignment").put(uint32_t{10}).put(uint64_t{32})),
            "'general.alignment' must be a u32, a power of two from 8 to 65536, found another type");
}

TEST_F(GgufHostileTest, OtherAlignmentsAreTaken) {
  std::string text = Bytes()
                         .head(1, 1)
                         .put_string("general.alignment")
                         .put(uint32_t{4})
                         .put(uint32_t{64})
                         .tensor("t", {4}, 24, 64)
                         .text();
  ASSERT_LT(text.size(), 128u);
  text.resize(128);
  const auto file = open(text + std::string(64, 'x') + "data");
  ASSERT_TRUE(file) << file.error().message;
  const auto data = file->find("t")->data;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.data()), data.size()), "data");
}

TEST_F(GgufHostileTest, BadTensorsAreRefused) {
  const auto one = [&](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, size_t size) {
    return error_of(Bytes().head(1, 0).tensor("t", dims, type, offset).data(size));
  };
  EXPECT_EQ(one({8}, 24, 0, 8), "accepted");
  EXPECT_EQ(one({}, 24, 0, 64), "tensor 't': byte 33: expected 1 to 4 dimensions, found 0");
  EXPECT_EQ(one({1, 1, 1, 1, 1}, 24, 0, 64), "tensor 't': byte 33: expected 1 to 4 dimensions, found 5");
  const std::string dimension = "expected dimensions above 0 with a product below 2^63, found ";
  EXPECT_EQ(one({8, 0}, 24, 0, 64), "tensor 't': byte 45: " + dimension + "0");
  EXPECT_EQ(one({~0ull}, 24, 0, 64), "tensor 't': byte 37: " + dimension + "-1");
  EXPECT_EQ(one({1ull << 32, 1ull << 31}, 24, 0, 64), "tensor 't': byte 45: " + dimension + "2147483648");
  EXPECT_EQ(one({1ull << 61, 2}, 0, 0, 64),
            "tensor 't': expected a size below 2^64 bytes, found 4611686018427387904 elements of type F32");
  EXPECT_EQ(one({33}, 8, 0, 64), "tensor 't': expected a multiple of 32 elements for type Q8_0, found 33");
  EXPECT_EQ(one({16, 2}, 8, 0, 64), "tensor 't': expected a multiple of 32 elements for type Q8_0, found 16");
  EXPECT_EQ(
      one({8}, 21, 0, 64),
      "tensor 't': byte 45: expected tensor type " + gguf_type_names() + ", found IQ3_S (21)");
  EXPECT_EQ(one({8}, 24, 16, 64), "tensor 't': expected an offset that is a multiple of 32, found 16");
  const std::string found = ", found 64 bytes of data in the file";
  EXPECT_EQ(one({65}, 24, 0, 64), "tensor 't': expected 65 bytes at data offset 0" + found);
  EXPECT_EQ(one({64}, 24, 32, 64), "tensor 't': expected 64 bytes at data offset 32" + found);
  EXPECT_EQ(one({64}, 24, ~0ull - 31, 64),  // offset + size wraps round to 32
            "tensor 't': expected 64 bytes at data offset 18446744073709551584" + found);
  EXPECT_EQ(error_of(Bytes().head(1, 0).tensor(std::string(64, 'n'), {8}, 24, 0).data(64)),
            "byte 24: expected a tensor name of at most 63 bytes, found 64");
}

TEST_F(GgufHostileTest, TensorsOnTopOfEachOtherAreRefused) {
  EXPECT_EQ(error_of(Bytes().head(2, 0).tensor("a", {33}, 24, 0).tensor("b", {8}, 24, 32).data(64)),
            "tensor 'b': expected data apart from those of tensor 'a', found both at data offset 32");
  EXPECT_EQ(error_of(Bytes().head(2, 0).tensor("a", {8}, 24, 32).tensor("b", {64}, 24, 0).data(64)),
            "tensor 'a': expected data apart from those of tensor 'b', found both at data offset 32");
  EXPECT_NE(error_of(Bytes().head(2, 0).tensor("a", {8}, 24, 0).tensor("b", {8}, 24, 0).data(64)),
            "accepted");
  EXPECT_EQ(error_of(Bytes().head(2, 0).tensor("a", {8}, 24, 0).tensor("a", {8}, 24, 32).data(64)),
            "expected each tensor once, found 'a' again");
}

TEST_F(GgufHostileTest, NamesCannotWriteToTheTerminal) {
  EXPECT_EQ(error_of(Bytes().head(0, 1).put_string("\x1b[2J\n").put(uint32_t{99}).data(8)),
            "key '\\x1b[2J\\x0a': byte 37: expected a value type from 0 to 12, found 99");
}

}  // namespace
}  // namespace ringflash
