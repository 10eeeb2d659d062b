#include "cli/tiny_files.h"
#include "format/tiny_checkpoint.h"

namespace ringflash::testing {
namespace {

class Export : public ::testing::Test {
 protected:
  void SetUp() override {
    const ModelConfig config = tiny_config();
    write_checkpoint(directory_ / "run/checkpoint-5", config, random_weights(config));
  }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  const TemporaryDirectory directory_;
};

TEST_F(Export, WritesAModelThatTheOtherCommandsRead) {
  const nlohmann::json report =
      one_object(run_ringflash({"export", path("run"), "--out", path("model.gguf"), "--json"}));
  EXPECT_EQ(report.value("format", ""), "bf16");
  EXPECT_EQ(report.value("checkpoint", ""), path("run/checkpoint-5"));
  EXPECT_EQ(report.value("file_bytes", 0u), std::filesystem::file_size(path("model.gguf")));
  EXPECT_GT(report.value("linear_bytes", 0), 0);
  EXPECT_GT(report.value("embedding_bytes", 0), 0);

  const nlohmann::json info = one_object(run_ringflash({"info", path("model.gguf"), "--json"}));
  EXPECT_EQ(info.at("linear_format"), "BF16");
  EXPECT_EQ(info.at("bytes").at("linear"), report.at("linear_bytes"));
  const nlohmann::json text = one_object(
      run_ringflash({"generate", path("model.gguf"), "-p", "ab", "-n", "4", "--ignore-eos", "--json"}));
  EXPECT_EQ(text.value("generated_tokens", 0), 4);
}

TEST_F(Export, TheFormatIsAChoice) {
  const Outcome outcome =
      run_ringflash({"export", path("run/checkpoint-5"), "--out", path("q8.gguf"), "--format", "q8"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find(path("q8.gguf")), std::string::npos) << outcome.out;
  const nlohmann::json info = one_object(run_ringflash({"info", path("q8.gguf"), "--json"}));
  EXPECT_EQ(info.at("linear_format"), "BF16+Q8_0");  // down_proj's 48 columns are no whole blocks
}

TEST_F(Export, PlacesThatCannotBeReadOrWrittenAreNamed) {
  expect_failure(run_ringflash({"export", path("nowhere"), "--out", path("a.gguf")}), {"nowhere"});
  expect_failure(run_ringflash({"export", path("run"), "--out", path("no/folder/a.gguf")}),
                 {"no/folder/a.gguf"});
  EXPECT_FALSE(std::filesystem::exists(path("a.gguf")));
}

}  // namespace
}  // namespace ringflash::testing
