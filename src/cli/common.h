// What the commands share: their interface, the options every one takes, and how results and errors are
// printed.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

namespace CLI {
class App;
}

namespace ringflash::cli {

enum ExitCode : int { kSuccess = 0, kFailure = 1, kWrongUsage = 2 };

struct CommonOptions {
  bool json = false;  ///< exactly one JSON object on stdout, everything else on stderr
  int threads = 0;    ///< 0: all
};

/// One command of the program: its options, then its work.
class Command {
 public:
  virtual ~Command() = default;
  virtual void add_options(CLI::App& app) = 0;
  /// What the parser cannot check by itself; an error is wrong usage.
  virtual Status check() const { return {}; }
  virtual Status run(const CommonOptions& common) = 0;
};

/// A line of the table of commands.
struct CommandEntry {
  const char* name;
  const char* summary;
  const char* example;
  std::unique_ptr<Command> (*make)();  ///< null: the training half's, passed on unparsed
};

void add_common_options(CLI::App& app, CommonOptions& common);

/// Writes to stdout at once; the error gives the system's reason (disk full).
Status write_stdout(std::string_view text);

/// One object and a newline; numbers that are not finite become null, bytes that are not UTF-8 become U+FFFD.
Status write_json(const nlohmann::ordered_json& object);

/// "ringflash: error: ..." on stderr.
void print_error(std::string_view message);

/// 12345678 -> "12.3 MB"; powers of ten.
std::string format_bytes(uint64_t bytes);

}  // namespace ringflash::cli
