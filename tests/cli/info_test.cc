#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

using Info = TinyFiles;

TEST_F(Info, JsonHoldsConfigCountsAndBytes) {
  const nlohmann::json info = one_object(run_ringflash({"info", model_, "--json"}));
  const nlohmann::json& config = info.at("config");
  EXPECT_EQ(config.at("hidden_size"), 64);
  EXPECT_EQ(config.at("attention"), (nlohmann::json{"ring", "full", "ring", "ring"}));
  EXPECT_EQ(config.at("model_type"), "ringflash");
  EXPECT_EQ(info.at("vocabulary_size"), 288);
  EXPECT_EQ(info.at("linear_format"), "F32");

  // By hand, from the shapes: per layer q and o 64 * 64, k and v 64 * 32, three MLP matrices 64 * 96.
  const nlohmann::json& parameters = info.at("parameters");
  EXPECT_EQ(parameters.at("embedding"), 288 * 64);
  EXPECT_EQ(parameters.at("linear"), 4 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96));
  EXPECT_EQ(parameters.at("router"), 3 * 64 * 2);
  EXPECT_EQ(parameters.at("norm"), (2 * 4 + 1) * 64);

  const nlohmann::json& bytes = info.at("bytes");
  int64_t sum = 0;
  for (const std::string kind : {"embedding", "linear", "router", "norm"}) {
    EXPECT_EQ(bytes.at(kind), 4 * parameters.at(kind).get<int64_t>()) << kind;
    sum += bytes.at(kind).get<int64_t>();
  }
  EXPECT_GT(bytes.at("metadata"), 0);
  EXPECT_EQ(bytes.at("total"), std::filesystem::file_size(model_));
  EXPECT_EQ(bytes.at("total"), sum + bytes.at("metadata").get<int64_t>());
}

TEST_F(Info, CacheIsComparedWithTheAllFullTwins) {
  // At 256 tokens a ring layer keeps 24 slots, 2 sinks and 32 pages of 2, a full layer 256 entries; an entry
  // is a key and a value of 16 floats for each of 2 heads.
  const nlohmann::json cache = one_object(run_ringflash({"info", model_, "--json"})).at("cache");
  EXPECT_EQ(cache.at("context"), 256);
  EXPECT_EQ(cache.at("bytes"), (3 * (24 + 2 + 64) + 256) * 2 * 2 * 16 * 4);
  EXPECT_EQ(cache.at("all_full_bytes"), 4 * 256 * 2 * 2 * 16 * 4);
}

TEST_F(Info, QuantisedWeightsAreSaid) {
  TinyModelOptions options;
  options.config = tiny_ring_config();
  options.matrices = GgufType::kQ8_0;
  write_tiny_gguf(directory_ / "q8.gguf", options);
  const nlohmann::json info = one_object(run_ringflash({"info", path("q8.gguf"), "--json"}));
  EXPECT_EQ(info.at("linear_format"), "Q8_0");
  EXPECT_EQ(info.at("bytes").at("linear"), info.at("parameters").at("linear").get<int64_t>() * 34 / 32);
}

TEST_F(Info, TheTableSaysTheSame) {
  const Outcome outcome = run_ringflash({"info", model_});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_EQ(outcome.err, "");
  for (const std::string part :
       {"3 ring, 1 full", "causal", "256 tokens", "288 pieces", "18.4k", "491.5 kB", "134.7 kB"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << " is not in\n" << outcome.out;
  }
}

TEST_F(Info, AModelThatLooksAheadIsDescribed) {
  const nlohmann::json info = one_object(run_ringflash({"info", bidirectional_model(), "--json"}));
  EXPECT_EQ(info.at("config").at("attention_mode"), "bidirectional");
  EXPECT_EQ(info.at("cache").at("bytes"), 0);
}

TEST_F(Info, FilesThatAreMissingOrSomethingElseAreNamed) {
  expect_failure(run_ringflash({"info", path("none.gguf"), "--json"}), {"none.gguf", "No such file"});
  expect_failure(run_ringflash({"info", text_file("note.txt", "no model")}), {"note.txt"});
}

TEST_F(Info, AFullDiskBehindStdoutIsAnError) {
  expect_failure(run_ringflash({"info", model_}, {.out_file = "/dev/full"}), {"stdout", "No space left"});
  expect_failure(run_ringflash({"--help"}, {.out_file = "/dev/full"}), {"stdout", "No space left"});
}

}  // namespace
}  // namespace ringflash::testing
