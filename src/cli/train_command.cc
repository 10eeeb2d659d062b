#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace ringflash::cli {
namespace {

constexpr const char* kProgram = "ringflash-train";

}  // namespace

Error become_training_half(char** arguments) {
  // libtorch's OpenMP threads wait in a spin of milliseconds, which on a busy machine starves the very thread they
  // wait for: a fortieth of the speed was seen. Tens of microseconds cost nothing on an idle one.
  ::setenv("GOMP_SPINCOUNT", "10000", /*overwrite=*/0);
  std::string name = kProgram;
  std::vector<char*> argv = {name.data()};
  for (char** argument = arguments; *argument != nullptr; ++argument) argv.push_back(*argument);
  argv.push_back(nullptr);

  std::error_code no_proc;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", no_proc);
  if (!no_proc) ::execv((self.parent_path() / kProgram).c_str(), argv.data());
  const bool missing_beside = no_proc || errno == ENOENT;
  if (missing_beside) ::execvp(kProgram, argv.data());
  if (errno != ENOENT) return Error{std::string(kProgram) + " cannot be started: " + std::strerror(errno)};
  return Error{"this is the lean build, without the training half: no " + std::string(kProgram) + " in " +
               self.parent_path().string() + " nor on PATH"};
}

}  // namespace ringflash::cli
