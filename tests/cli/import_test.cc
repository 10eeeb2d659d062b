#include "cli/tiny_files.h"
#include "import/foreign_files.h"

namespace ringflash::testing {
namespace {

class Import : public ::testing::Test {
 protected:
  void SetUp() override {
    const ModelConfig config = tiny_imported_config("gemma3");
    write_foreign_gguf(directory_ / "foreign.gguf", "gemma3", config, foreign_weights(config, 1));
  }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  const TemporaryDirectory directory_;
};

TEST_F(Import, MakesACheckpointThatIsExportedAndRuns) {
  const nlohmann::json report =
      one_object(run_ringflash({"import", path("foreign.gguf"), "--out", path("model"), "--json"}));
  EXPECT_EQ(report.value("architecture", ""), "gemma3");
  EXPECT_GT(report.value("parameters", 0), 0);
  EXPECT_EQ(report.value("weight_bytes", 0u), std::filesystem::file_size(path("model/model.safetensors")));
  for (const char* format : {"f32", "bf16", "q8", "q4"}) {
    SCOPED_TRACE(format);
    one_object(run_ringflash(
        {"export", path("model"), "--out", path("model.gguf"), "--format", format, "--json"}));
    const nlohmann::json text = one_object(
        run_ringflash({"generate", path("model.gguf"), "-p", "ab", "-n", "40", "--ignore-eos", "--json"}));
    EXPECT_EQ(text.value("generated_tokens", 0), 40);
  }
}

TEST_F(Import, WhatIsThereIsReplacedOnRequestAlone) {
  EXPECT_EQ(run_ringflash({"import", path("foreign.gguf"), "--out", path("model")}).exit_code, 0);
  expect_failure(run_ringflash({"import", path("foreign.gguf"), "--out", path("model")}), {path("model"), "--force"});
  EXPECT_EQ(run_ringflash({"import", path("foreign.gguf"), "--out", path("model"), "--force"}).exit_code, 0);
}

TEST_F(Import, SourcesThatAreNotModelsAreNamed) {
  expect_failure(run_ringflash({"import", path("nowhere"), "--out", path("a")}), {"nowhere"});
  std::filesystem::create_directory(path("empty"));
  expect_failure(run_ringflash({"import", path("empty"), "--out", path("a")}), {path("empty"), "config.json"});
}

}  // namespace
}  // namespace ringflash::testing
