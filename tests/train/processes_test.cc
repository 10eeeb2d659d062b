// Several processes train what one would, and end together.
#include "train/processes.h"

#include <gtest/gtest.h>

#include <array>
#include <csignal>
#include <map>
#include <thread>

#include "base/stopwatch.h"
#include "processes_support.h"
#include "run_support.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using testing::free_port;
using testing::losses;
using testing::wait_for;

/// This process never starts libtorch's threads, so that its forks may.
class ProcessesRun : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_corpus(data_, 12, 8000);
  }

  TrainRequest request(const char* name, int steps, int batch, const char* precision) const {
    TrainRequest run = testing::small_run(data_, directory_ / name, steps);
    run.threads = 1;
    run.resume = true;
    const std::map<std::string, std::string> more = {
        {"sequence_length", "128"}, {"eval_tokens", "512"},           {"save_steps", "4"}, {"precision", precision},
        {"learning_rate", "1e-2"},  {"batch_size", std::to_string(batch)}, {"gradient_accumulation_steps", "2"}};
    run.settings.insert(run.settings.end(), more.begin(), more.end());
    return run;
  }

  pid_t start(const TrainRequest& run, int rank, int size, int port) {
    return testing::start_process(rank, size, port, [&] {
      std::string message;
      try {
        const Result<TrainReport> report = run_training(run);
        if (!report) message = report.error().message;
      } catch (const std::exception& error) {
        message = error.what();
      }
      const Status written = write_file(error_file(rank), message);
      return written.ok() && message.empty();
    });
  }

  fs::path error_file(int rank) const { return directory_ / ("error-" + std::to_string(rank)); }

  void run_all(const TrainRequest& run, int size) {
    const int port = free_port();
    std::vector<pid_t> children;
    for (int rank = 0; rank < size; ++rank) children.push_back(start(run, rank, size, port));
    for (int rank = 0; rank < size; ++rank) {
      EXPECT_EQ(wait_for(children[static_cast<size_t>(rank)]), 0) << read_file(error_file(rank)).value();
    }
  }

  const testing::TemporaryDirectory directory_{testing::memory_folder()};
  const fs::path data_ = directory_ / "data";
};

// Sums of gradients in fp32 in another order: each step's loss is off by some u = 6e-8 times what the weights have moved.
TEST_F(ProcessesRun, TwoTrainWhatOneWouldWithTwiceTheBatch) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  run_all(request("one", 8, 4, "fp32"), 1);
  run_all(request("two", 8, 2, "fp32"), 2);
  const std::vector<double> one = losses(directory_ / "one"), two = losses(directory_ / "two");
  ASSERT_EQ(one.size(), 8u);
  ASSERT_EQ(two.size(), 8u);
  EXPECT_LT(one.back(), one.front());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], two[i], 1e-4) << i;
}

// Rows of 128 tokens, chunks of 8: most of what the second half of a row sees of the first are pages.
TEST_F(ProcessesRun, TwoThatShareEachRowTrainWhatOneWould) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  const auto sliced = [&](const char* name, int slices) {
    TrainRequest run = request(name, 6, 1, "fp32");
    for (const auto& [key, value] : {std::pair{"window", "16"}, {"stride", "8"}, {"global_ratio", "0.2"}}) {
      run.settings.emplace_back(key, value);
    }
    run.settings.emplace_back("sequence_parallel", std::to_string(slices));
    return run;
  };
  run_all(sliced("whole", 1), 1);
  run_all(sliced("slices", 2), 2);
  const std::vector<double> one = losses(directory_ / "whole"), two = losses(directory_ / "slices");
  ASSERT_EQ(one.size(), 6u);
  ASSERT_EQ(two.size(), 6u);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(one[i], two[i], 1e-4) << i;
}

TEST_F(ProcessesRun, RefusesSlicesThatDoNotFit) {
  TrainRequest run = request("refused", 6, 1, "fp32");
  run.settings.emplace_back("sequence_parallel", "3");
  const auto odd = run_training(run);
  ASSERT_FALSE(odd);
  EXPECT_NE(odd.error().message.find("'sequence_length' must be a multiple"), std::string::npos) << odd.error().message;
  run.settings.back().second = "2";
  const auto narrow = run_training(run);
  ASSERT_FALSE(narrow);
  EXPECT_NE(narrow.error().message.find("a window and a stride"), std::string::npos) << narrow.error().message;
}

TEST_F(ProcessesRun, AnotherNumberOfThemGoesOn) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  // Half of the run in two processes, the other in one with twice the batch: the rows of each step stay the same. The
  // learning rate is constant, for max_steps changes.
  const auto part = [&](int steps, int batch) {
    TrainRequest run = request("run", steps, batch, "fp32");
    run.settings.insert(run.settings.end(), {{"lr_scheduler_type", "constant"}, {"warmup_ratio", "0"}});
    return run;
  };
  TrainRequest whole = part(8, 4);
  whole.out = directory_ / "constant";
  run_all(whole, 1);
  run_all(part(4, 2), 2);
  run_all(part(8, 4), 1);
  const std::vector<double> expected = losses(whole.out), found = losses(directory_ / "run");
  ASSERT_EQ(expected.size(), 8u);
  ASSERT_EQ(found.size(), 8u);
  for (size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-4) << i;
}

TEST_F(ProcessesRun, EndTogetherWhenOneIsKilled) {
  if (!has_processes()) GTEST_SKIP() << "no gloo";
  for (const int victim : {0, 1}) {
    SCOPED_TRACE("the killed one's rank is " + std::to_string(victim));
    const int port = free_port();
    const TrainRequest run = request(victim == 0 ? "first" : "second", 100000, 2, "fp32");
    const std::array children = {start(run, 0, 2, port), start(run, 1, 2, port)};
    const size_t killed = static_cast<size_t>(victim), other = 1 - killed;
    while (!fs::exists(run.out / "checkpoint-4")) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ::kill(children[killed], SIGKILL);
    EXPECT_TRUE(WIFSIGNALED(wait_for(children[killed])));
    const Stopwatch stopwatch;
    const int status = wait_for(children[other]);
    EXPECT_LT(stopwatch.seconds(), 30);
    ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1) << status;
    const std::string error = read_file(error_file(static_cast<int>(other))).value();
    EXPECT_NE(error.find("another of the processes has ended"), std::string::npos) << error;
  }
}

const char* lookup(const char* name) {
  static const std::map<std::string, const char*> kVariables = {
      {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}, {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"MASTER_ADDR", "host"}};
  const auto found = kVariables.find(name);
  return found == kVariables.end() ? nullptr : found->second;
}

TEST(ProcessPlace, ReadsWhatLaunchersSet) {
  const ProcessPlace place = process_place(lookup).value();
  EXPECT_EQ(place.size, 4);
  EXPECT_EQ(place.rank, 3);
  EXPECT_EQ(place.local_size, 2);
  EXPECT_EQ(place.local_rank, 1);  // the second one of the second machine
  EXPECT_EQ(place.address, "host");
  EXPECT_EQ(place.port, 29500);
  EXPECT_EQ(process_place([](const char*) -> const char* { return nullptr; }).value().size, 1);
}

TEST(ProcessPlace, TakesTheLaunchersWordForPlacesOnAMachine) {
  const ProcessPlace place = process_place([](const char* name) -> const char* {
    const std::map<std::string, const char*> variables = {{"WORLD_SIZE", "4"}, {"RANK", "2"}, {"LOCAL_WORLD_SIZE", "2"}, {"LOCAL_RANK", "1"}};
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second;
  }).value();
  EXPECT_EQ(place.local_rank, 1);
}

TEST(ProcessPlace, LeavesTorchrunItsPort) {
  const auto place = process_place([](const char* name) -> const char* {
    if (std::string(name) == "TORCHELASTIC_USE_AGENT_STORE") return "True";
    return std::string(name) == "MASTER_PORT" ? "4000" : nullptr;
  });
  EXPECT_EQ(place.value().port, 4001);
}

TEST(ProcessPlace, NamesWhatIsWrong) {
  const auto wrong = process_place([](const char* name) -> const char* {
    if (std::string(name) == "WORLD_SIZE") return "2";
    return std::string(name) == "RANK" ? "2" : nullptr;
  });
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message, "the environment's RANK must be an integer from 0 to 1, found '2'");
}

}  // namespace
}  // namespace ringflash
