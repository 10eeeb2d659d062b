// Training with a scaled loss: nothing else changes, overflows are outlived, and resuming finds the scale.
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "expect_close.h"
#include "run_support.h"

namespace ringflash {
namespace {

using testing::logged;
using testing::losses;
using testing::small_run;

using LossScaling = testing::SmallRuns;

TEST_F(LossScaling, ChangesNothing) {
  TrainRequest request = small_run(data_, out_, 12);
  request.settings.insert(request.settings.end(), {{"precision", "fp32"}, {"save_steps", "5"}});
  run(request);
  const std::vector<double> plain = losses(out_);
  EXPECT_TRUE(logged(out_, "loss_scale").empty());

  request.out = directory_ / "scaled";
  request.settings.insert(request.settings.end(), {{"loss_scaling", "on"}, {"loss_scale_growth_steps", "3"}});
  run(request);
  EXPECT_EQ(losses(request.out), plain) << "powers of two round nothing";
  const std::vector<double> scales = logged(request.out, "loss_scale");
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(scales[i], std::ldexp(65536, static_cast<int>(i / 3)));

  std::filesystem::remove_all(request.out / "checkpoint-12");
  request.resume = true;
  run(request);
  EXPECT_EQ(losses(request.out), plain);
  EXPECT_EQ(logged(request.out, "loss_scale"), scales);
}

TEST_F(LossScaling, OverflowsHalveTheScaleAndAreNoBadBatches) {
  TrainRequest request = small_run(data_, out_, 3);
  // Squares of gradients this large do not fit into fp32.
  request.settings.insert(request.settings.end(), {{"precision", "fp32"}, {"loss_scaling", "on"},
                          {"initial_loss_scale", "1180591620717411303424"}, {"max_bad_batches", "2"}});
  run(request);
  std::istringstream log(read_file(out_ / "metrics.jsonl").value());
  int skipped = 0;
  std::vector<double> expected;  // of each step: half of the scale for each overflow before it
  for (std::string line; std::getline(log, line);) {
    if (line.find("gradients overflow at a loss scale of ") != std::string::npos) ++skipped;
    if (line.find("\"loss_scale\"") != std::string::npos) expected.push_back(std::ldexp(1, 70 - skipped));
  }
  EXPECT_GT(skipped, 2);
  EXPECT_EQ(expected.size(), 3u);
  EXPECT_EQ(logged(out_, "loss_scale"), expected);
}

TEST_F(LossScaling, Fp16TrainsAsFp32DoesOrSaysWhyNot) {
  TrainRequest request = small_run(data_, out_, 8);
  request.settings.emplace_back("precision", "fp16");
  const Result<TrainReport> report = run_training(request);
  if (!report) {
    EXPECT_NE(report.error().message.find("'precision' is fp16, which this libtorch cannot train in"), std::string::npos)
        << report.error().message;
    return;
  }
  EXPECT_EQ(logged(out_, "loss_scale"), std::vector<double>(8, 65536));
  request.out = directory_ / "full";
  request.settings.back().second = "fp32";
  run(request);
  // Products of 11 bits: the losses of eight steps stay as near as the weights, which round by 2^-11 each.
  const std::vector<double> half = losses(out_);
  testing::expect_close(std::vector<float>(half.begin(), half.end()), losses(request.out), {.relative = 8 * 0x1p-11});
}

}  // namespace
}  // namespace ringflash
