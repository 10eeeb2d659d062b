#include <signal.h>

#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

using Generate = TinyFiles;

TEST_F(Generate, StreamsThePromptAndItsContinuation) {
  const Outcome json =
      run_ringflash({"generate", model_, "-p", "a prompt", "-n", "30", "--seed", "7", "--json"});
  const Outcome plain = run_ringflash({"generate", model_, "-p", "a prompt", "-n", "30", "--seed", "7"});
  const nlohmann::json object = one_object(json);
  EXPECT_EQ(plain.exit_code, 0);
  EXPECT_EQ(plain.out, "a prompt" + object.value("text", "") + "\n");
  EXPECT_NE(object.value("text", ""), "");
  EXPECT_EQ(object.value("prompt_tokens", 0), 9);
  EXPECT_EQ(object.value("generated_tokens", 0), 30);
  EXPECT_GT(object.value("prefill_tokens_per_s", 0.0), 0);
  EXPECT_GT(object.value("decode_tokens_per_s", 0.0), 0);
  EXPECT_EQ(object.value("stop", ""), "max_tokens");
  for (const Outcome& outcome : {json, plain}) {
    EXPECT_NE(outcome.err.find("tokens/s"), std::string::npos) << outcome.err;
  }
}

TEST_F(Generate, SameSeedSameTextOnAnyThreads) {
  const auto text = [&](const std::string& seed, const std::string& threads) {
    return run_ringflash({"generate", model_, "-p", "x", "-n", "40", "--seed", seed, "--threads", threads})
        .out;
  };
  EXPECT_EQ(text("1", "1"), text("1", "3"));
  EXPECT_NE(text("1", "1"), text("2", "1"));
}

TEST_F(Generate, EachOptionReachesTheSampler) {
  const auto text = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"generate", model_, "-p", "x", "-n", "40", "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_ringflash(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string plain = text({});
  const std::string greedy = text({"--temperature", "0"});
  EXPECT_NE(plain, greedy);
  EXPECT_EQ(text({"--top-k", "1"}), greedy);
  EXPECT_EQ(text({"--top-p", "1e-9"}), greedy);
  EXPECT_NE(text({"--temperature", "0", "--repetition-penalty", "1000"}), greedy);
}

TEST_F(Generate, ThePromptMayComeFromAFileAndBeAnyBytes) {
  const std::string prompt = "two\nlines \xFF {} [a,b]";
  const std::string file = text_file("prompt", prompt);
  const Outcome outcome =
      run_ringflash({"generate", model_, "--prompt-file", file, "-n", "5", "--seed", "3"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_TRUE(outcome.out.starts_with(prompt)) << outcome.out;
  EXPECT_EQ(run_ringflash({"generate", model_, "-p", prompt, "-n", "5", "--seed", "3"}).out, outcome.out);
  for (const std::string odd : {"{}", "-n", "--json", "%%"}) {
    const Outcome verbatim = run_ringflash({"generate", model_, "-p", odd, "-n", "0"});
    EXPECT_EQ(verbatim.out, odd + "\n") << verbatim.err;
  }
}

TEST_F(Generate, AnEmptyPromptStartsFromBos) {
  const std::vector<std::vector<std::string>> prompts = {{"-p", ""},
                                                         {"--prompt-file", text_file("empty", "")}};
  for (const auto& prompt : prompts) {
    const nlohmann::json object =
        one_object(run_ringflash({"generate", model_, prompt[0], prompt[1], "-n", "3", "--json"}));
    EXPECT_EQ(object.value("prompt_tokens", 0), 1);
    EXPECT_EQ(object.value("generated_tokens", 0), 3);
  }
}

TEST_F(Generate, TextThatIsNoUtf8IsStillJson) {
  // Nearly uniform draws among 288 pieces, 256 of them single bytes.
  const Outcome outcome = run_ringflash({"generate", model_, "-p", "x", "-n", "100", "--temperature", "1000",
                                         "--top-k", "0", "--top-p", "1", "--ignore-eos", "--json"});
  const nlohmann::json object = one_object(outcome);
  EXPECT_EQ(object.value("generated_tokens", 0), 100);
  EXPECT_NE(object.value("text", "").find("\xEF\xBF\xBD"), std::string::npos);
}

TEST_F(Generate, WhatCannotBeTimedIsNull) {
  const nlohmann::json object =
      one_object(run_ringflash({"generate", model_, "-p", "x", "-n", "0", "--json"}));
  EXPECT_EQ(object.at("text"), "");
  EXPECT_EQ(object.at("generated_tokens"), 0);
  EXPECT_TRUE(object.at("decode_tokens_per_s").is_null());
}

TEST_F(Generate, AFullContextEndsTheText) {
  const nlohmann::json object = one_object(run_ringflash(
      {"generate", model_, "-p", "1234", "-n", "99", "--context", "8", "--ignore-eos", "--json"}));
  EXPECT_EQ(object.value("stop", ""), "context_full");
  EXPECT_EQ(object.value("prompt_tokens", 0), 5);
  EXPECT_EQ(object.value("generated_tokens", 0), 4);
}

TEST_F(Generate, APromptLongerThanTheContextIsAnErrorWithBothNumbers) {
  const std::string prompt(300, 'q');
  expect_failure(run_ringflash({"generate", model_, "-p", prompt}), {"301 tokens", "256"});
  expect_failure(run_ringflash({"generate", model_, "-p", prompt, "--json"}), {"301 tokens", "256"});
  expect_failure(run_ringflash({"generate", model_, "-p", "12345678", "--context", "8"}), {"9 tokens", "8"});
}

TEST_F(Generate, FilesThatAreMissingOrSomethingElseAreNamed) {
  expect_failure(run_ringflash({"generate", path("none.gguf"), "-p", "x"}), {"none.gguf", "No such file"});
  expect_failure(run_ringflash({"generate", text_file("note.txt", "no model"), "-p", "x"}), {"note.txt"});
  expect_failure(run_ringflash({"generate", text_file("empty.gguf", ""), "-p", "x"}), {"empty.gguf"});
  expect_failure(run_ringflash({"generate", directory_.path().string(), "-p", "x"}), {"regular file"});
  expect_failure(run_ringflash({"generate", model_, "--prompt-file", path("none.txt")}), {"none.txt"});
}

TEST_F(Generate, AModelThatLooksAheadIsRefused) {
  expect_failure(run_ringflash({"generate", bidirectional_model(), "-p", "x"}),
                 {"both.gguf", "'attention_mode' must be \"causal\" to generate"});
}

TEST_F(Generate, ATruncatedModelIsAnError) {
  const std::string whole = read_file(model_).value();
  for (size_t size = 0; size < whole.size(); size += whole.size() / 7) {
    const std::string file = text_file("cut.gguf", std::string_view(whole).substr(0, size));
    expect_failure(run_ringflash({"generate", file, "-p", "x"}), {"cut.gguf"});
  }
}

TEST_F(Generate, AFullDiskBehindStdoutIsAnError) {
  for (const std::string json : {"--json", "--ignore-eos"}) {
    const Outcome outcome =
        run_ringflash({"generate", model_, "-p", "x", "-n", "5", json}, {.out_file = "/dev/full"});
    expect_failure(outcome, {"stdout", "No space left"});
  }
}

TEST_F(Generate, AReaderThatWentAwayEndsItQuietly) {
  const Outcome outcome = run_ringflash({"generate", model_, "-p", "x"}, {.out_closed = true});
  EXPECT_EQ(outcome.exit_code, 128 + SIGPIPE);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Generate, TheExampleOfTheApiRuns) {
  const Outcome outcome = run_ringflash({model_, "a prompt"}, {.program = RINGFLASH_EXAMPLE});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_GT(outcome.out.size(), 1u);
  EXPECT_NE(outcome.err.find("64 tokens"), std::string::npos) << outcome.err;
  const Outcome failed = run_ringflash({path("none.gguf"), "x"}, {.program = RINGFLASH_EXAMPLE});
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_NE(failed.err.find("none.gguf"), std::string::npos);
}

}  // namespace
}  // namespace ringflash::testing
