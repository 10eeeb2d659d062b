// Runs another program to its end.
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

/// A program installed beside the running one.
Result<std::filesystem::path> sibling_program(const std::string& name);

}  // namespace ringflash
