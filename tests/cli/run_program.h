// Runs the real `ringflash` and catches all that comes out of it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace ringflash::testing {

struct Outcome {
  int exit_code = -1;  ///< 128 + the signal's number if a signal ended it, as a shell has it
  std::string out, err;
  double seconds = 0;
};

struct RunSettings {
  std::filesystem::path program = {};                   ///< empty: the `ringflash` of this build
  std::map<std::string, std::string> environment = {};  ///< on top of this process's
  std::string in = {};                  ///< what stdin holds
  bool out_closed = false;              ///< stdout is a pipe that nobody reads any more, as with `| head`
  std::filesystem::path out_file = {};  ///< where stdout goes instead (Outcome::out is empty then)
};

Outcome run_ringflash(const std::vector<std::string>& arguments, const RunSettings& settings = {});

/// This build's binary.
std::filesystem::path ringflash_binary();

}  // namespace ringflash::testing
