// `ringflash bench`: what it prints, and what it refuses. No assertion looks at a time.
#include <algorithm>
#include <set>

#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

using nlohmann::json;
using Arguments = std::vector<std::string>;

/// Nothing that takes long, and no Python.
Outcome bench_attention(const Arguments& extra, const RunSettings& settings = {}) {
  Arguments arguments = {"bench", "attention", "--n", "40,150", "--heads", "4", "--kv-heads", "2", "--head-dim", "32",
                         "--window", "16", "--stride", "8", "--rounds", "2", "--threads", "2", "--no-torch"};
  arguments.insert(arguments.end(), extra.begin(), extra.end());
  return run_ringflash(arguments, settings);
}

std::vector<std::string> keys_of(const json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(Bench, AttentionReportsEveryLengthPassAndVariant) {
  const json report = one_object(bench_attention({"--json"}));
  EXPECT_EQ(keys_of(report), (Arguments{"checked", "command", "commit", "machine", "rows", "settings"}));
  EXPECT_EQ(report.at("command"), "bench attention");
  EXPECT_EQ(report.at("checked"), true);
  EXPECT_EQ(report.at("machine").at("threads"), 2);
  EXPECT_GT(report.at("machine").at("peak_gflops").at("fp32_fma"), 0);
  EXPECT_EQ(report.at("settings").at("ring").at("window"), 16);
  const json& rows = report.at("rows");
  ASSERT_EQ(rows.size(), 2u * 3 * 3);
  size_t at = 0;
  for (const int n : {40, 150}) {
    for (const std::string pass : {"forward", "forward_backward", "decode"}) {
      for (const std::string name : {"full", "ring_all", "ring_top_pages"}) {
        const json& row = rows.at(at++);
        EXPECT_EQ(row.at("name"), name);
        EXPECT_EQ(row.at("n"), n);
        EXPECT_EQ(row.at("pass"), pass);
        EXPECT_EQ(row.at("rounds"), 2);
        EXPECT_GT(row.at("ms"), 0);
        EXPECT_GT(row.at("speedup_vs_full"), 0);
        EXPECT_GT(row.at("cache_bytes"), 0);
        EXPECT_EQ(row.at("peak_fraction").is_null(), pass == "decode");
        EXPECT_TRUE(row.at("skipped").is_null());
      }
    }
  }
  EXPECT_EQ(rows.at(0).at("speedup_vs_full"), 1.0);
}

TEST(Bench, OnePassInATable) {
  const Outcome outcome = bench_attention({"--pass", "decode"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(outcome.out.starts_with("name")) << outcome.out;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1 + 2 * 3);
  EXPECT_EQ(outcome.out.find("forward"), std::string::npos);
}

TEST(Bench, TheInstructionSetInForceIsMeasured) {
  const Outcome outcome = bench_attention({"--json", "--n", "20"}, {.environment = {{"RINGFLASH_ISA", "scalar"}}});
  EXPECT_EQ(one_object(outcome).at("machine").at("isa"), "scalar");
}

TEST(Bench, WithoutTorchOneLineSaysHowToGetIt) {
  const Outcome outcome = run_ringflash({"bench", "attention", "--n", "20", "--rounds", "1", "--pass", "forward"},
                                        {.environment = {{"RINGFLASH_PYTHON", "/nowhere/python"}}});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.err.find("no torch_sdpa row (/nowhere/python: cannot be started"), std::string::npos)
      << outcome.err;
  EXPECT_NE(outcome.err.find("RINGFLASH_PYTHON"), std::string::npos);
  EXPECT_EQ(outcome.out.find("torch"), std::string::npos);
}

TEST(Bench, PrefillOfInventedWeights) {
  const TemporaryDirectory directory;
  const json report = one_object(run_ringflash({"bench", "prefill", "--preset", "tiny", "--n", "30,70", "--window",
                                                "16", "--stride", "8", "--json"},
                                               {.environment = {{"TMPDIR", (directory / "").string()}}}));
  EXPECT_EQ(report.at("command"), "bench prefill");
  EXPECT_EQ(report.at("checked"), true);
  ASSERT_EQ(report.at("rows").size(), 2u * 3);
  for (const json& row : report.at("rows")) {
    EXPECT_GT(row.at("ms"), 0);
    EXPECT_GT(row.at("tokens_per_s"), 0);
    EXPECT_GT(row.at("cache_bytes"), 0);
  }
  // At 70 tokens the full twin keeps all of them, the ring 24 and its pages.
  EXPECT_GT(report.at("rows").at(3).at("cache_bytes"), report.at("rows").at(4).at("cache_bytes"));
  EXPECT_TRUE(std::filesystem::is_empty(directory / "")) << "the weights were left behind";
}

using BenchFile = TinyFiles;

TEST_F(BenchFile, PrefillOfAModelFile) {
  const json report = one_object(run_ringflash({"bench", "prefill", model_, "--n", "100", "--json"}));
  EXPECT_EQ(report.at("settings").at("model"), model_);
  EXPECT_EQ(report.at("settings").at("ring").at("stride"), 8);
  EXPECT_EQ(report.at("rows").size(), 3u);
  expect_failure(run_ringflash({"bench", "prefill", path("none.gguf")}), {"none.gguf"});
}

TEST(BenchLinear, EveryFormatIsCheckedAndTimed) {
  const json report =
      one_object(run_ringflash({"bench", "linear", "--in", "128", "--out", "80", "--tokens", "1,5", "--mebibytes", "1",
                                "--rounds", "1", "--threads", "2", "--no-onednn", "--json"}));
  EXPECT_EQ(report.at("command"), "bench linear");
  EXPECT_EQ(report.at("checked"), true);
  std::multiset<std::string> names;
  for (const json& row : report.at("rows")) {
    names.insert(row.at("name"));
    EXPECT_GT(row.at("ms"), 0) << row;
    const bool weights = row.at("name") != "dram_read";
    EXPECT_EQ(row.at("dram_fraction").is_number(), weights && row.at("op") == "matvec") << row;
    EXPECT_EQ(row.at("speedup_vs_q4_0").is_number(), weights) << row;
  }
  for (const char* name : {"dram_read", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "s8", "s4", "s4_32"}) {
    EXPECT_EQ(names.count(name), 4u) << name;  // two numbers of tokens, two of threads
  }
}

TEST(BenchDecode, ModelsOfEveryFormatTakeTurns) {
  const TemporaryDirectory folder;
  const Arguments arguments = {"bench", "decode", "--preset", "tiny", "--formats", "bf16,q8_0,q4_0,q4_1,q5_0,s8,s4", "--n",
                               "20", "--tokens", "3", "--rounds", "1", "--models", folder.path().string(), "--json"};
  const json report = one_object(run_ringflash(arguments));
  ASSERT_EQ(report.at("rows").size(), 7u);
  for (const json& row : report.at("rows")) {
    EXPECT_GT(row.at("prefill_tokens_per_s"), 0) << row;
    EXPECT_GT(row.at("decode_speedup_vs_bf16"), 0) << row;
    EXPECT_EQ(row.at("file_bytes"),
              std::filesystem::file_size(folder / ("tiny-" + row.at("name").get<std::string>() + ".gguf")));
  }
  const json info = one_object(run_ringflash({"info", (folder / "tiny-s4.gguf").string(), "--json"}));
  EXPECT_EQ(info.at("linear_format"), "S4 12:64");
  EXPECT_EQ(info.at("fp16_ratio").at("linear"), 8.0);
}

TEST(Bench, WrongUsageIsNamed) {
  const std::pair<Arguments, std::string> cases[] = {
      {{"bench"}, "attention or decode or linear or prefill"},
      {{"bench", "dancing"}, "dancing"},
      {{"bench", "linear", "--in", "100"}, "--in"},
      {{"bench", "linear", "--tokens", "0"}, "--tokens"},
      {{"bench", "decode", "--formats", "s5"}, "s5"},
      {{"bench", "decode", "--preset", "giant"}, "giant"},
      {{"bench", "attention", "--n", "0"}, "--n"},
      {{"bench", "attention", "--n", "10,x"}, "--n"},
      {{"bench", "attention", "--pass", "sideways"}, "sideways"},
      {{"bench", "attention", "--rounds", "0"}, "--rounds"},
      {{"bench", "attention", "--heads", "3"}, "num_attention_heads"},
      {{"bench", "attention", "--window", "100"}, "window"},
      {{"bench", "attention", "--global-ratio", "2"}, "global_ratio"},
      {{"bench", "prefill", "--preset", "giant"}, "giant"},
      {{"bench", "prefill", "some.gguf", "--window", "64"}, "--window"},
  };
  for (const auto& [arguments, says] : cases) {
    const Outcome outcome = run_ringflash(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Bench, HelpShowsTheOptions) {
  const Outcome outcome = run_ringflash({"bench", "attention", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* text : {"--n", "--pass", "--rounds", "--full", "--threads", "ringflash bench attention --n"}) {
    EXPECT_NE(outcome.out.find(text), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace ringflash::testing
