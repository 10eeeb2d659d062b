// Other programs: run to their end, or spoken to line by line.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash {

struct ProgramOutput {
  int exit_code = 0;  ///< 128 + the signal, where one ended it
  std::string out, err;
};

/// Starts `program` with `arguments` (argv[1] and on), `input` on its stdin, and waits. What passes through
/// temporary files, so that neither side can block the other. The error says why it could not be started.
Result<ProgramOutput> run_program(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                                  std::string_view input);

/// A running program that answers each line it is sent with one line.
class LineProcess {
 public:
  /// `program` is looked for on PATH unless it holds a slash. What it writes to stderr is dropped.
  static Result<LineProcess> start(const std::filesystem::path& program, const std::vector<std::string>& arguments);

  LineProcess(LineProcess&& other) noexcept;
  LineProcess& operator=(LineProcess&&) = delete;
  /// Closes its stdin and waits for its end.
  ~LineProcess();

  Status write_line(std::string_view line);
  /// Without the newline. Errors: the program ended, or its line is longer than 64 KiB.
  Result<std::string> read_line();

 private:
  LineProcess(std::string name, int child, int socket) : name_(std::move(name)), child_(child), socket_(socket) {}

  std::string name_;
  int child_ = 0, socket_ = -1;
  std::string received_;  ///< beyond the lines already read
};

/// A program installed beside the running one.
Result<std::filesystem::path> sibling_program(const std::string& name);

}  // namespace ringflash
