// Runs that are killed, or cannot write: nothing is lost that was saved, and a resumed run is the run it would have
// been.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "base/rng.h"
#include "base/stopwatch.h"
#include "format/checkpoint.h"
#include "run_support.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 20;
constexpr int kKills = 20;
constexpr double kLongestRun = 1;  ///< in seconds: where it takes longer, on a busy machine, early kills will do
constexpr uid_t kNobody = 65534;

/// The run's log without what depends on the clock and the process.
std::vector<std::string> history(const fs::path& run) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(run / "metrics.jsonl").value());
  for (std::string line; std::getline(text, line);) {
    auto json = nlohmann::json::parse(line);
    for (const char* key : {"seconds", "tokens_per_s", "peak_memory"}) json.erase(key);
    lines.push_back(json.dump());
  }
  return lines;
}

/// This process never starts libtorch's threads, so that its forks may.
class Crash : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_corpus(data_, 12, 8000);
    request_ = testing::small_run(data_, out_, kSteps);
    request_.resume = true;
    request_.settings.insert(request_.settings.end(), {{"sparsity", "fine"},
                                                       {"sparsity_begin_ratio", "0"},
                                                       {"sparsity_end_ratio", "0.4"},
                                                       {"mask_interval", "2"},
                                                       {"sequence_length", "128"},
                                                       {"eval_tokens", "512"},
                                                       {"optimizer_bits", "8"},
                                                       {"eval_steps", "2"},
                                                       {"save_steps", "2"}});
  }

  /// A process in which `prepare` is called and then the request is run.
  pid_t start(const TrainRequest& request, const std::function<void()>& prepare = [] {}) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    prepare();
    const Result<TrainReport> report = run_training(request);
    if (!report) std::fputs((report.error().message + "\n").c_str(), ::freopen(error_.c_str(), "w", stderr));
    std::fflush(stderr);
    ::_exit(report ? 0 : 1);
  }

  static int wait_for(pid_t child) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
  }

  void run(const TrainRequest& request) {
    EXPECT_EQ(wait_for(start(request)), 0) << read_file(error_).value();
  }

  std::string failure(const TrainRequest& request, const std::function<void()>& prepare) {
    const int status = wait_for(start(request, prepare));
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
    return read_file(error_).value();
  }

  void expect_readable_checkpoints() const {
    std::error_code none_yet;
    for (const auto& entry : fs::directory_iterator(out_, none_yet)) {
      if (entry.path().extension() == ".tmp") continue;
      if (entry.path().filename() != "best" && !checkpoint_step(entry.path())) continue;
      const Result<Checkpoint> checkpoint = open_checkpoint(entry.path());
      EXPECT_TRUE(checkpoint.ok()) << checkpoint.error().message;
    }
  }

  /// Kills the run again and again, a seeded while after each start, then lets it end.
  void survive_kills(int threads);

  const testing::TemporaryDirectory directory_{testing::memory_folder()};
  const fs::path data_ = directory_ / "data", out_ = directory_ / "run", error_ = directory_ / "error";
  TrainRequest request_;
};

void Crash::survive_kills(int threads) {
  request_.threads = threads;
  TrainRequest undisturbed = request_;
  undisturbed.out = directory_ / "undisturbed";
  const Stopwatch stopwatch;
  run(undisturbed);
  const double whole = std::min(stopwatch.seconds(), kLongestRun);
  const std::vector<std::string> expected = history(undisturbed.out);

  Rng rng(static_cast<uint64_t>(threads));
  int kills = 0, finished = 0, amid_steps = 0;
  while (kills < kKills) {
    const pid_t child = start(request_);
    std::this_thread::sleep_for(std::chrono::duration<double>(0.6 * whole * rng.uniform()));
    ::kill(child, SIGKILL);
    const int status = wait_for(child);
    expect_readable_checkpoints();
    if (WIFSIGNALED(status)) {
      ++kills;
      amid_steps += open_checkpoint(out_).ok();
      continue;
    }
    ASSERT_EQ(status, 0) << read_file(error_).value();
    EXPECT_EQ(history(out_), expected);
    fs::remove_all(out_);
    ++finished;
  }
  run(request_);
  EXPECT_EQ(history(out_), expected);
  const fs::path best = "best/model.safetensors";
  EXPECT_EQ(read_file(out_ / best).value(), read_file(undisturbed.out / best).value());
  RecordProperty("finished", finished);
  EXPECT_GE(amid_steps, kKills / 4) << "kills that came after a checkpoint";
}

TEST_F(Crash, KilledRunsOfOneThreadLoseNothing) { survive_kills(1); }
TEST_F(Crash, KilledRunsOfTwoThreadsLoseNothing) { survive_kills(2); }

/// After a kill between checkpoints, a resumed run that `prepare` keeps from writing fails and says why; what was saved
/// is as it was, and without the hindrance the run goes on as if nothing had been.
class CannotWrite : public Crash {
 protected:
  void SetUp() override {
    Crash::SetUp();
    run(request_);
    expected_ = history(out_);
    fs::remove_all(out_ / "checkpoint-20");
    fs::remove_all(out_ / "best");
    checkpoint_ = resolve_checkpoint(out_).value();
    before_ = contents();
  }

  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(checkpoint_)) {
      if (entry.is_regular_file()) files[entry.path().string()] = read_file(entry.path()).value();
    }
    return files;
  }

  void expect_unharmed() {
    EXPECT_EQ(contents(), before_);
    EXPECT_EQ(resolve_checkpoint(out_).value(), checkpoint_);
    run(request_);
    EXPECT_EQ(history(out_), expected_);
  }

  std::vector<std::string> expected_;
  fs::path checkpoint_;
  std::map<std::string, std::string> before_;
};

TEST_F(CannotWrite, FullDisk) {
  // A limit on the size of files stands in for the full disk: both make write() fail half-way.
  const std::string error = failure(request_, [] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small = {.rlim_cur = 60'000, .rlim_max = 60'000};
    ::setrlimit(RLIMIT_FSIZE, &small);
  });
  EXPECT_NE(error.find("model.safetensors.tmp: cannot be written: "), std::string::npos) << error;
  expect_unharmed();
}

TEST_F(CannotWrite, ReadOnlyDirectory) {
  const std::string error = failure(request_, [this] {
    if (::geteuid() == 0) {  // whom no permission stops
      for (const auto& entry : fs::recursive_directory_iterator(directory_.path())) {
        EXPECT_EQ(::chown(entry.path().c_str(), kNobody, kNobody), 0);
      }
      EXPECT_EQ(::chown(directory_.path().c_str(), kNobody, kNobody), 0);
      EXPECT_EQ(::seteuid(kNobody), 0);
    }
    fs::permissions(out_, fs::perms::owner_read | fs::perms::owner_exec);
  });
  fs::permissions(out_, fs::perms::owner_all);
  EXPECT_NE(error.find((out_ / "metrics.jsonl").string()), std::string::npos) << error;
  EXPECT_NE(error.find("Permission denied"), std::string::npos) << error;
  expect_unharmed();
}

}  // namespace
}  // namespace ringflash
