// A tiny model and texts on disk, for tests that run the program on them.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/file.h"
#include "cli/run_program.h"
#include "support/tiny_model.h"
#include "temporary_directory.h"

namespace ringflash::testing {

class TinyFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    TinyModelOptions options;
    options.config = tiny_ring_config();
    write_tiny_gguf(directory_ / "model.gguf", options);
  }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }

  std::string text_file(const std::string& name, std::string_view text) const {
    EXPECT_TRUE(write_file(directory_ / name, text).ok());
    return path(name);
  }

  /// The model's twin whose tokens look both ways, which can be looked at but not generate.
  std::string bidirectional_model() const {
    TinyModelOptions options;
    options.config.attention_mode = AttentionMode::kBidirectional;
    write_tiny_gguf(directory_ / "both.gguf", options);
    return path("both.gguf");
  }

  const TemporaryDirectory directory_;
  const std::string model_ = path("model.gguf");
};

/// Parses what must be exactly one JSON object; null where it is not.
inline nlohmann::json one_object(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const nlohmann::json object = nlohmann::json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(object.is_object()) << outcome.out;
  return object;
}

/// Failed work: exit code 1, nothing on stdout, an error that names all of `parts`.
inline void expect_failure(const Outcome& outcome, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_TRUE(outcome.err.starts_with("ringflash: error: ")) << outcome.err;
  for (const std::string& part : parts) {
    EXPECT_NE(outcome.err.find(part), std::string::npos) << "'" << part << "' is not in " << outcome.err;
  }
}

}  // namespace ringflash::testing
