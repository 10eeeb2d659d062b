#include "base/subprocess.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

extern char** environ;

namespace ringflash {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

/// A file without a name, gone when closed.
Result<File> temporary_file() {
  File file(std::tmpfile(), std::fclose);
  if (!file) return Error{std::string("a temporary file cannot be created: ") + std::strerror(errno)};
  return file;
}

Status write_all(std::FILE* file, std::string_view text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (!written || std::fflush(file) != 0 || std::fseek(file, 0, SEEK_SET) != 0) {
    return Error{std::string("a temporary file cannot be written: ") + std::strerror(errno)};
  }
  return {};
}

std::string read_all(std::FILE* file) {
  std::string text;
  char buffer[65536];
  std::rewind(file);
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, file)) text.append(buffer, count);
  return text;
}

Result<pid_t> spawn(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                    const std::array<int, 3>& descriptors) {
  std::vector<std::string> storage = {program.string()};
  storage.insert(storage.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& argument : storage) argv.push_back(argument.data());
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (int i = 0; i < 3; ++i) posix_spawn_file_actions_adddup2(&actions, descriptors[i], i);
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Error{program.string() + ": cannot be started: " + std::strerror(error)};
  return child;
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Result<ProgramOutput> run_program(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                                  std::string_view input) {
  RF_TRY(const File in, temporary_file());
  RF_TRY(const File out, temporary_file());
  RF_TRY(const File err, temporary_file());
  RF_TRY_VOID(write_all(in.get(), input));
  RF_TRY(const pid_t child,
         spawn(program, arguments, {::fileno(in.get()), ::fileno(out.get()), ::fileno(err.get())}));
  const int exit_code = wait_for(child);
  return ProgramOutput{exit_code, read_all(out.get()), read_all(err.get())};
}

Result<std::filesystem::path> sibling_program(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return Error{"/proc/self/exe: cannot be read: " + error.message()};
  const std::filesystem::path program = self.parent_path() / name;
  if (!std::filesystem::exists(program, error)) return Error{program.string() + ": this program is missing"};
  return program;
}

}  // namespace ringflash
