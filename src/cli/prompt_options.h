// A text given on the command line or in a file.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace ringflash::cli {

struct PromptOptions {
  std::optional<std::string> text, file;

  /// --prompt and --prompt-file; `purpose` ends their descriptions: "to continue".
  void add_options(CLI::App& app, const std::string& purpose);
  /// One of them must be given.
  Status check() const;
  Result<std::string> read() const;
};

}  // namespace ringflash::cli
