// `ringflash train` for real, through both programs: what a user sees, good input and bad.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/rng.h"
#include "cli/run_program.h"
#include "format/checkpoint.h"
#include "import/foreign_files.h"
#include "model/tensors.h"
#include "report/xml_check.h"
#include "support/prose.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash::testing {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class TrainingHalf : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(directory_ / "data"); }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  void write(const std::string& name, std::string_view text) const {
    ASSERT_TRUE(write_file(directory_ / name, text).ok());
  }

  void write_prose() const {
    for (int i = 0; i < 8; ++i) write("data/" + std::to_string(i), prose(6000, 10 + i));
  }

  /// A run of two steps, unless `extra` says otherwise.
  Outcome train(const Arguments& extra = {}) const {
    Arguments arguments = {"train", "--data", path("data"), "--out", path("run"), "--preset", "tiny",
                           "--steps", "2",   "--set", "vocab_size=400", "--set", "heldout_fraction=0.2"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_ringflash(arguments);
  }

  void expect_failure(const Outcome& outcome, const std::string& says) const {
    EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
    EXPECT_NE(outcome.err.find("ringflash: error: "), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }

  const TemporaryDirectory directory_;
};

TEST_F(TrainingHalf, TrainsExportsAndGenerates) {
  write_prose();
  const Outcome trained = train({"--json"});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto report = nlohmann::json::parse(trained.out);
  EXPECT_EQ(report["steps"], 2);
  EXPECT_EQ(report["interrupted"], false);
  EXPECT_TRUE(fs::exists(report["checkpoint"].get<std::string>() + "/model.safetensors"));

  ASSERT_EQ(run_ringflash({"export", path("run"), "--out", path("m.gguf"), "--format", "q8"}).exit_code, 0);
  const Outcome generated = run_ringflash({"generate", path("m.gguf"), "-p", "ba co", "-n", "5", "--json"});
  ASSERT_EQ(generated.exit_code, 0) << generated.err;
  EXPECT_TRUE(nlohmann::json::parse(generated.out)["text"].is_string());
}

TEST_F(TrainingHalf, TheOpeningLinesNameTheRing) {
  write_prose();
  const Outcome preset = train();
  EXPECT_NE(preset.err.find("ring: window 512, stride 256, 13 tokens of a chunk global (the preset up to 8192 tokens)"),
            std::string::npos)
      << preset.err;
  fs::remove_all(directory_ / "run");
  const Outcome own = train({"--seq", "128", "--set", "stride=32", "--set", "window=64"});
  EXPECT_NE(own.err.find("ring: window 64, stride 32, 2 tokens of a chunk global (no preset)"), std::string::npos)
      << own.err;
}

TEST_F(TrainingHalf, AnyBytesAreText) {
  std::string bytes;
  Rng rng(3);
  for (int i = 0; i < 20000; ++i) bytes += static_cast<char>(rng.below(256));
  write_prose();
  write("data/binary", bytes);
  const Outcome outcome = train();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST_F(TrainingHalf, SecondRunAsksForResumeAndThenGoesOn) {
  write_prose();
  ASSERT_EQ(train().exit_code, 0);
  expect_failure(train(), "--resume");
  const Outcome resumed = run_ringflash(
      {"train", "--data", path("data"), "--out", path("run"), "--steps", "3", "--resume", "--json"});
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(nlohmann::json::parse(resumed.out)["steps"], 3);
}

TEST_F(TrainingHalf, HelpShowsTheRecipe) {
  const Outcome outcome = run_ringflash({"train", "--help"});
  EXPECT_EQ(outcome.exit_code, 0);
  for (const char* text : {"learning_rate=0.0001", "lr_scheduler_type=cosine", "warmup_ratio=0.05", "max_grad_norm=1", "l1=0.01",
                           "precision=auto", "loss_scaling=auto", "optimizer_bits=32", "--teacher", "best ", "ringflash train --data",
                           "nano", "--seq"}) {
    EXPECT_NE(outcome.out.find(text), std::string::npos) << text;
  }
}

// The article's table: what a run writes down where nothing else was asked for.
TEST_F(TrainingHalf, DefaultsAreWrittenDown) {
  write_prose();
  const Outcome outcome = train({"--activation-budget", "40%", "--set", "sparsity=fine"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("activations     layers  kept a layer"), std::string::npos) << outcome.err;
  const auto recipe = nlohmann::json::parse(read_file(directory_ / "run/checkpoint-2/trainer_state/train_config.json").value());
  EXPECT_EQ(recipe["warmup_ratio"], 0.05);
  EXPECT_EQ(recipe["lr_scheduler_type"], "cosine");
  EXPECT_EQ(recipe["l1"], 0.01);
  EXPECT_EQ(recipe["max_grad_norm"], 1.0);
  EXPECT_EQ(recipe["activation_budget"], "40%");
  EXPECT_TRUE(recipe["precision"] == "bf16" || recipe["precision"] == "fp32") << recipe["precision"];
  const std::string report = read_file(directory_ / "run/report.html").value();
  for (const char* title : {"Loss, nats per token", "Tokens a second", "Peak memory", "Learning rate"}) {
    EXPECT_NE(report.find(title), std::string::npos) << title;
  }
}

TEST_F(TrainingHalf, WrongUsage) {
  for (const Arguments& arguments : {Arguments{"train"}, Arguments{"train", "--data", "x"},
                                     Arguments{"train", "--data", "x", "--out", "y", "--steps", "many"},
                                     Arguments{"train", "--data", "x", "--out", "y", "--set", "novalue"}}) {
    const Outcome outcome = run_ringflash(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_NE(outcome.err.find("ringflash: error: "), std::string::npos);
  }
}

TEST_F(TrainingHalf, MissingData) {
  expect_failure(run_ringflash({"train", "--data", path("nowhere"), "--out", path("run")}), "nowhere");
}

TEST_F(TrainingHalf, EmptyCorpus) {
  write("data/empty.txt", "");
  expect_failure(train(), path("data"));
}

TEST_F(TrainingHalf, CorpusSmallerThanOneSequence) {
  write("data/a.txt", "a few words");
  write("data/b.txt", "and a few more");
  expect_failure(train(), "one sequence");
}

TEST_F(TrainingHalf, UnknownKeysAndImpossibleShapesAreNamed) {
  write_prose();
  expect_failure(train({"--set", "hiden_size=64"}), "hidden_size");
  expect_failure(train({"--set", "num_attention_heads=3", "--set", "num_key_value_heads=2"}), "num_attention_heads");
  expect_failure(train({"--set", "window=100"}), "multiple of stride");
  expect_failure(train({"--set", "attention_mode=bidirectional"}), "'attention_mode' must be \"causal\"");
  write("config.json", R"({"vocab_size": 400, "hidden_sizes": 64})");
  expect_failure(train({"--config", path("config.json")}), "config.json");
}

TEST_F(TrainingHalf, UnwritableOutput) {
  write_prose();
  write("file", "in the way");
  expect_failure(run_ringflash({"train", "--data", path("data"), "--out", path("file/run"), "--steps", "1"}), "file/run");
}

TEST_F(TrainingHalf, ComparesSparsities) {
  write_prose();
  ASSERT_EQ(train({"--set", "intermediate_size=128"}).exit_code, 0);
  write("calib.txt", prose(9000, 5));
  write("other.txt", prose(500, 6));
  const Outcome compared =
      run_ringflash({"compress", "--from", path("run"), "--calib", path("calib.txt"), "--out", path("sizes"), "--sparsity",
                     "0,0.5", "--eval", path("other.txt"), "--heal-steps", "2", "--data", path("data"), "--set",
                     "learning_rate=1e-3", "--json"});
  ASSERT_EQ(compared.exit_code, 0) << compared.err;
  const auto table = nlohmann::json::parse(compared.out);
  std::vector<std::string> names;
  for (const auto& row : table["rows"]) {
    names.push_back(row["model"]);
    EXPECT_GT(row["tokens_per_s"].get<double>(), 0);
    const double accuracy = row["texts"]["other"]["accuracy"];
    EXPECT_TRUE(accuracy >= 0 && accuracy <= 1);
    EXPECT_GT(row["texts"]["other"]["bits_per_byte"].get<double>(), 0);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"dense", "s0-4bit", "s0-4bit-healed", "s50-4bit", "s50-4bit-healed"}));
  // 8.5, 4.125 and 3.125 bits for each weight of the linear layers.
  const auto bytes = [&](int row) { return table["rows"][row]["linear_bytes"].get<double>(); };
  EXPECT_EQ(bytes(1) / bytes(0), 4.125 / 8.5);
  EXPECT_EQ(bytes(3) / bytes(0), 3.125 / 8.5);
  EXPECT_EQ(fs::file_size(directory_ / "sizes" / "s50-4bit.gguf"), table["rows"][3]["file_bytes"]);
  const std::string page = read_file(directory_ / "sizes" / "table.html").value();
  EXPECT_EQ(XmlChecker(page).error(), "");
  EXPECT_NE(page.find("other: bits per byte over"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(std::ifstream(directory_ / "sizes" / "table.json")), table);
}

TEST_F(TrainingHalf, CompressesAndHeals) {
  write_prose();
  ASSERT_EQ(train({"--set", "intermediate_size=128"}).exit_code, 0);
  write("calib.txt", prose(9000, 5));
  const Arguments compress = {"compress", "--from", path("run"), "--calib", path("calib.txt"), "--json"};
  const auto with = [&](const Arguments& extra) {
    Arguments arguments = compress;
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    return run_ringflash(arguments);
  };
  const Outcome once = with({"--out", path("small")});
  ASSERT_EQ(once.exit_code, 0) << once.err;
  const auto report = nlohmann::json::parse(once.out);
  EXPECT_EQ(report["checkpoint"], path("small"));
  EXPECT_EQ(report["active_weights"].get<double>() / report["linear_weights"].get<double>(), 12.0 / 64);
  EXPECT_TRUE(fs::exists(directory_ / "small" / "model.safetensors"));

  const Outcome healed = with({"--out", path("healed"), "--heal-steps", "3", "--data", path("data")});
  ASSERT_EQ(healed.exit_code, 0) << healed.err;
  EXPECT_EQ(nlohmann::json::parse(healed.out)["checkpoint"], path("healed/checkpoint-3"));

  expect_failure(with({"--out", path("small")}), "does not exist yet");
  write("short.txt", "too short");
  Arguments short_text = {"compress", "--from", path("run"), "--calib", path("short.txt"), "--out", path("never")};
  expect_failure(run_ringflash(short_text), "tokens to calibrate");
  EXPECT_FALSE(fs::exists(directory_ / "never"));
  EXPECT_EQ(with({"--out", path("never"), "--sparsity", "0.85", "--bits", "4"}).exit_code, 2);
  EXPECT_EQ(with({"--out", path("never"), "--sparsity", "0.5,0.75"}).exit_code, 2);  // without --eval
  EXPECT_EQ(with({"--out", path("never"), "--method", "luck"}).exit_code, 2);
}

/// Config, embedding, norms and biases are those of the checkpoint that was compressed.
void expect_all_but_linear_layers_kept(const fs::path& before, const fs::path& after) {
  ModelConfig config = load_config(after / "config.json").value();
  EXPECT_EQ(config.sparsity.keep, 32);
  config.sparsity = {};
  EXPECT_EQ(config, load_config(before / "config.json").value());
  const SafetensorsFile old = SafetensorsFile::open(before / "model.safetensors").value();
  const SafetensorsFile compressed = SafetensorsFile::open(after / "model.safetensors").value();
  for (const TensorSpec& spec : tensor_inventory(config)) {
    const bool same = to_floats(*compressed.find(spec.name)) == to_floats(*old.find(spec.name));
    EXPECT_EQ(same, spec.role != TensorRole::kLinear) << spec.name;
  }
}

TEST_F(TrainingHalf, CompressesWhatWasImported) {
  write("calib.txt", prose(9000, 5));
  write("other.txt", prose(500, 6));
  for (const std::string architecture : kImportedArchitectures) {
    SCOPED_TRACE(architecture);
    ModelConfig config = tiny_imported_config(architecture);
    config.intermediate_size = 128;
    const fs::path source = directory_ / (architecture + ".gguf");
    write_foreign_gguf(source, architecture, config, foreign_weights(config, 1));
    ASSERT_EQ(run_ringflash({"import", source, "--out", path(architecture)}).exit_code, 0);
    const Outcome compressed =
        run_ringflash({"compress", "--from", path(architecture), "--out", path(architecture + "-sizes"), "--calib",
                       path("calib.txt"), "--sparsity", "0.5", "--bits", "8", "--eval", path("other.txt"), "--json"});
    ASSERT_EQ(compressed.exit_code, 0) << compressed.err;
    const auto table = nlohmann::json::parse(compressed.out);
    const auto bits = [&](int row) { return table["rows"][row]["texts"]["other"]["bits_per_byte"].get<double>(); };
    EXPECT_NEAR(bits(1), bits(0), 0.01 * bits(0));  // the weights are random: half of them have little to say
    expect_all_but_linear_layers_kept(path(architecture), path(architecture + "-sizes/s50-8bit"));
  }
}

}  // namespace
}  // namespace ringflash::testing
