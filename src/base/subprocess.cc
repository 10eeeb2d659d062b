#include "base/subprocess.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <utility>

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
  const int error = posix_spawnp(&child, program.c_str(), &actions, nullptr, argv.data(), environ);
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

Result<LineProcess> LineProcess::start(const std::filesystem::path& program,
                                       const std::vector<std::string>& arguments) {
  // A socket, not pipes: writing to one whose reader is gone is an error, not a signal.
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Error{std::string("a socket cannot be created: ") + std::strerror(errno)};
  }
  const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  const Result<pid_t> child = spawn(program, arguments, {ends[1], ends[1], null < 0 ? STDERR_FILENO : null});
  if (null >= 0) ::close(null);
  ::close(ends[1]);
  if (child) return LineProcess(program.string(), *child, ends[0]);
  ::close(ends[0]);
  return child.error();
}

LineProcess::LineProcess(LineProcess&& other) noexcept
    : name_(std::move(other.name_)),
      child_(std::exchange(other.child_, 0)),
      socket_(std::exchange(other.socket_, -1)),
      received_(std::move(other.received_)) {}

LineProcess::~LineProcess() {
  if (socket_ < 0) return;
  ::close(socket_);
  wait_for(child_);
}

Status LineProcess::write_line(std::string_view line) {
  std::string rest = std::string(line) + "\n";
  while (!rest.empty()) {
    const ssize_t sent = ::send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) return Error{name_ + ": cannot be written to: " + std::strerror(errno)};
    if (sent > 0) rest.erase(0, static_cast<size_t>(sent));
  }
  return {};
}

Result<std::string> LineProcess::read_line() {
  constexpr size_t kLongest = 65536;
  for (;;) {
    if (const size_t end = received_.find('\n'); end != std::string::npos) {
      std::string line = received_.substr(0, end);
      received_.erase(0, end + 1);
      return line;
    }
    if (received_.size() > kLongest) return Error{name_ + ": wrote a line of more than 64 KiB"};
    char buffer[4096];
    const ssize_t count = ::recv(socket_, buffer, sizeof buffer, 0);
    if (count == 0) return Error{name_ + ": ended without an answer"};
    if (count < 0 && errno != EINTR) return Error{name_ + ": cannot be read from: " + std::strerror(errno)};
    if (count > 0) received_.append(buffer, static_cast<size_t>(count));
  }
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
