#include "cli/run_program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "base/check.h"
#include "base/file.h"
#include "base/stopwatch.h"
#include "temporary_directory.h"

namespace ringflash::testing {
namespace {

void redirect(const std::filesystem::path& path, int flags, int to) {
  const int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0 || ::dup2(fd, to) < 0) ::_exit(126);
}

void redirect_to_closed_pipe(int to) {
  int ends[2];
  if (::pipe(ends) != 0 || ::close(ends[0]) != 0 || ::dup2(ends[1], to) < 0) ::_exit(126);
  ::signal(SIGPIPE, SIG_DFL);
}

[[noreturn]] void become(const std::vector<std::string>& words, const RunSettings& settings,
                         const std::filesystem::path& in, const std::filesystem::path& out,
                         const std::filesystem::path& err) {
  redirect(in, O_RDONLY, STDIN_FILENO);
  redirect(out, O_WRONLY | O_CREAT, STDOUT_FILENO);
  if (settings.out_closed) redirect_to_closed_pipe(STDOUT_FILENO);
  redirect(err, O_WRONLY | O_CREAT, STDERR_FILENO);
  for (const auto& [name, value] : settings.environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

std::filesystem::path ringflash_binary() {
  return RINGFLASH_BINARY;
}

Outcome run_ringflash(const std::vector<std::string>& arguments, const RunSettings& settings) {
  std::vector<std::string> words;
  std::istringstream emulator(RINGFLASH_EMULATOR);  // of a cross build: "qemu-aarch64 -L ..."
  for (std::string word; emulator >> word;) words.push_back(word);
  words.push_back((settings.program.empty() ? ringflash_binary() : settings.program).string());
  words.insert(words.end(), arguments.begin(), arguments.end());

  const TemporaryDirectory directory;
  const std::filesystem::path out = settings.out_file.empty() ? directory / "out" : settings.out_file;
  const std::filesystem::path in = directory / "in", err = directory / "err";
  RF_CHECK(write_file(in, settings.in).ok());
  const Stopwatch stopwatch;
  const pid_t child = ::fork();
  RF_CHECK(child >= 0);
  if (child == 0) become(words, settings, in, out, err);
  int status = 0;
  RF_CHECK(::waitpid(child, &status, 0) == child);

  Outcome outcome;
  outcome.seconds = stopwatch.seconds();
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (settings.out_file.empty()) outcome.out = read_file(out).value();
  outcome.err = read_file(err).value();
  return outcome;
}

}  // namespace ringflash::testing
