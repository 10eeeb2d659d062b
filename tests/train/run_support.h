// A small training run on invented text.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/prose.h"
#include "temporary_directory.h"
#include "train/trainer.h"

namespace ringflash::testing {

/// Writes `documents` text files under `folder`.
inline void write_corpus(const std::filesystem::path& folder, int documents, size_t bytes) {
  std::filesystem::create_directories(folder);
  for (int i = 0; i < documents; ++i) {
    const Status written = write_file(folder / (std::to_string(i) + ".txt"), prose(bytes, 100 + i));
    RF_CHECK(written.ok());
  }
}

/// The tiny preset with chunks of 32, so that a row of 256 tokens holds pages.
inline TrainRequest small_run(const std::filesystem::path& data, const std::filesystem::path& out, int steps) {
  TrainRequest request;
  request.data = {data};
  request.out = out;
  request.preset = "tiny";
  request.threads = 2;
  request.quiet = true;
  request.settings = {{"max_steps", std::to_string(steps)}, {"vocab_size", "400"}, {"window", "64"},
                      {"stride", "32"},  {"heldout_fraction", "0.1"}};
  return request;
}

/// A number of every step, from the log.
inline std::vector<double> logged(const std::filesystem::path& run, const std::string& key) {
  std::vector<double> values;
  std::ifstream lines(run / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line);
    if (json.contains(key)) values.push_back(json[key].get<double>());
  }
  return values;
}

inline std::vector<double> losses(const std::filesystem::path& run) { return logged(run, "loss"); }

/// Runs on a text of 12 documents.
class SmallRuns : public ::testing::Test {
 protected:
  void SetUp() override { write_corpus(data_, 12, 8000); }

  static TrainReport run(const TrainRequest& request) {
    const Result<TrainReport> report = run_training(request);
    EXPECT_TRUE(report.ok()) << report.error().message;
    return report ? *report : TrainReport{};
  }

  const TemporaryDirectory directory_{memory_folder()};
  const std::filesystem::path data_ = directory_ / "data", out_ = directory_ / "run";
};

}  // namespace ringflash::testing
