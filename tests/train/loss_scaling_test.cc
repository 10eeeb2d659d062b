// Training with a scaled loss: nothing else changes, overflows are outlived, and resuming finds the scale.
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "expect_close.h"
#include "run_support.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using testing::logged;

std::vector<float> rounded(const std::vector<double>& values) { return {values.begin(), values.end()}; }

class LossScaling : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_corpus(data_, 12, 8000); }

  TrainRequest request(const char* name, std::vector<std::pair<std::string, std::string>> settings) const {
    TrainRequest request = testing::small_run(data_, directory_ / name, 8);
    request.settings.emplace_back("eval_tokens", "512");
    request.settings.insert(request.settings.end(), settings.begin(), settings.end());
    return request;
  }

  fs::path run(const TrainRequest& request) {
    const Result<TrainReport> report = run_training(request);
    EXPECT_TRUE(report.ok()) << report.error().message;
    return request.out;
  }

  const testing::TemporaryDirectory directory_{testing::memory_folder()};
  const fs::path data_ = directory_ / "data";
};

// A power of two changes exponents alone.
TEST_F(LossScaling, LeavesTheRunAsItIs) {
  const fs::path plain = run(request("plain", {{"precision", "fp32"}}));
  const fs::path scaled = run(request("scaled", {{"precision", "fp32"}, {"loss_scaling", "on"}}));
  ASSERT_EQ(logged(plain, "loss").size(), 8u);
  EXPECT_EQ(logged(scaled, "loss"), logged(plain, "loss"));
  EXPECT_EQ(logged(scaled, "grad_norm"), logged(plain, "grad_norm"));
  EXPECT_EQ(logged(scaled, "loss_scale"), std::vector<double>(8, 65536));
}

// Gradients so large are no fp32 numbers, or their squares are not; and where each good step doubles the scale, soon none again.
TEST_F(LossScaling, HalvesWhatOverflowsAndResumesThere) {
  const double start = 0x1p100;
  TrainRequest request = this->request("run", {{"precision", "fp32"}, {"loss_scaling", "on"}, {"loss_scale_growth_steps", "1"},
                                               {"initial_loss_scale", std::to_string(start)}, {"max_steps", "24"},
                                               {"save_steps", "12"}});
  const fs::path out = run(request);
  const std::vector<double> scales = logged(out, "loss_scale"), losses = logged(out, "loss");
  ASSERT_EQ(scales.size(), 24u);
  ASSERT_LT(scales[0], start);
  EXPECT_EQ(std::exp2(std::round(std::log2(scales[0]))), scales[0]);
  EXPECT_LT(losses.back(), losses.front());
  int overflows = 0;
  std::istringstream lines(read_file(out / "metrics.jsonl").value());
  for (std::string line; std::getline(lines, line);) overflows += line.find("gradients overflow at a loss scale of") != std::string::npos;
  EXPECT_GT(overflows, std::log2(start / scales[0]));

  fs::remove_all(out / "checkpoint-24");
  request.resume = true;
  run(request);
  EXPECT_EQ(logged(out, "loss_scale"), scales);
  EXPECT_EQ(logged(out, "loss"), losses);
}

TEST_F(LossScaling, TrainsInFp16WhereLibtorchCan) {
  const TrainRequest half = request("half", {{"precision", "fp16"}});
  const Result<TrainReport> report = run_training(half);
  if (!report && report.error().message.find("which this libtorch cannot train in") != std::string::npos) {
    GTEST_SKIP() << report.error().message;
  }
  ASSERT_TRUE(report.ok()) << report.error().message;
  const fs::path full = run(request("full", {{"precision", "fp32"}}));
  // Products of 11 bits: the losses of eight steps stay as near as the weights, which round by 2^-11 each.
  testing::expect_close(rounded(logged(half.out, "loss")), logged(full, "loss"), {.relative = 8 * 0x1p-11});
  EXPECT_EQ(logged(half.out, "loss_scale"), std::vector<double>(8, 65536));
}

}  // namespace
}  // namespace ringflash
