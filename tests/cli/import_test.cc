#include "cli/tiny_files.h"
#include "format/checkpoint.h"
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
  for (const char* format : {"f32", "bf16", "q8", "q4", "q4_1", "q5_0", "auto"}) {
    SCOPED_TRACE(format);
    one_object(run_ringflash(
        {"export", path("model"), "--out", path("model.gguf"), "--format", format, "--json"}));
    const nlohmann::json text = one_object(
        run_ringflash({"generate", path("model.gguf"), "-p", "ab", "-n", "40", "--ignore-eos", "--json"}));
    EXPECT_EQ(text.value("generated_tokens", 0), 40);
  }
}

TEST_F(Import, RingsReplaceFullAttentionButWhereItMattersMost) {
  ASSERT_TRUE(write_file(directory_ / "calib.txt", "A text that does not fit into sixteen bytes, nor into twenty-four.").ok());
  const auto import = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"import", path("foreign.gguf"), "--out", path("model"), "--force", "--ring",
                                     "--window", "16", "--stride", "8", "--json"};
    args.insert(args.end(), more.begin(), more.end());
    return run_ringflash(args);
  };
  EXPECT_EQ(one_object(import({"--keep-full", "1,"})).at("ring"), nlohmann::json({{"keep_full", {1}}}));
  EXPECT_EQ(load_config(path("model/config.json")).value().attention[1], AttentionKind::kFull);
  const nlohmann::json ring = one_object(import({"--keep-full", "1", "--calib", path("calib.txt")})).at("ring");
  EXPECT_EQ(ring.at("keep_full"), nlohmann::json({1}));  // layer 0 is sliding
  EXPECT_EQ(ring.at("harm").size(), 1u);
  EXPECT_NE(ring.at("harm")[0].at("bits_per_byte"), ring.at("full_bits_per_byte"));
  ASSERT_TRUE(write_file(directory_ / "short.txt", "Too short.").ok());
  expect_failure(import({"--keep-full", "1", "--calib", path("short.txt")}), {path("short.txt"), "longer than window and stride"});
  one_object(import({}));
  EXPECT_EQ(load_config(path("model/config.json")).value().attention[1], AttentionKind::kRing);
}

TEST_F(Import, WrongUseOfRingsIsRefused) {
  const auto refused = [&](std::vector<std::string> more) {
    std::vector<std::string> args = {"import", path("foreign.gguf"), "--out", path("model")};
    args.insert(args.end(), more.begin(), more.end());
    return run_ringflash(args).exit_code == 2;
  };
  EXPECT_TRUE(refused({"--window", "16"}));
  EXPECT_TRUE(refused({"--ring", "--keep-full", "1"}));
  EXPECT_TRUE(refused({"--ring", "--keep-full", "0,x"}));
  EXPECT_TRUE(refused({"--ring", "--global-select", "some"}));
  EXPECT_FALSE(std::filesystem::exists(path("model")));
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
