// Whole training runs: they learn, resume to the bit, and fail with reasons.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "format/checkpoint.h"
#include "run_support.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;
using testing::logged;
using testing::losses;
using testing::small_run;

class Training : public testing::SmallRuns {
 protected:
  std::string failure(const TrainRequest& request) {
    const Result<TrainReport> report = run_training(request);
    EXPECT_FALSE(report.ok());
    return report ? "" : report.error().message;
  }
};

TEST_F(Training, LearnsAndWritesAWholeCheckpoint) {
  const TrainReport report = run(small_run(data_, out_, 40));
  EXPECT_EQ(report.steps, 40);
  EXPECT_LT(report.last_bits_per_byte, 0.8 * report.first_bits_per_byte);
  const Result<Checkpoint> checkpoint = open_checkpoint(out_);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->directory, out_ / "checkpoint-40");
  EXPECT_EQ(checkpoint->config.ring.window, 64);
  EXPECT_EQ(losses(out_).size(), 40u);
}

TEST_F(Training, ResumedLossesAreBitIdentical) {
  TrainRequest request = small_run(data_, out_, 20);
  // Masks move before and after the point of resuming.
  request.settings.insert(request.settings.end(), {{"sparsity", "fine"}, {"sparsity_begin_ratio", "0"}, {"sparsity_end_ratio", "0.4"},
                                                   {"mask_interval", "2"}, {"save_steps", "10"}});
  run(request);
  const std::vector<double> whole = losses(out_);
  ASSERT_EQ(whole.size(), 20u);

  // As after a kill between the two checkpoints: the later one is not there, the log is ahead.
  fs::remove_all(out_ / "checkpoint-20");
  TrainRequest again = request;  // the same settings may be given again
  again.resume = true;
  EXPECT_EQ(run(again).steps, 20);
  EXPECT_EQ(losses(out_), whole);
}

TEST_F(Training, SharedSparseLayersLearnAndResumeToTheBit) {
  TrainRequest request = small_run(data_, out_, 16);
  request.settings.insert(request.settings.end(),
                          {{"sharing_group_size", "2"}, {"sharing_kinds", R"(["v_proj", "gate_proj", "down_proj"])"},
                           {"sharing_rank", "4"}, {"sparsity", "fine"}, {"sparsity_keep", "16"}, {"weight_bits", "4"},
                           {"sparsity_begin_ratio", "0"}, {"sparsity_end_ratio", "0.4"}, {"mask_interval", "2"},
                           {"save_steps", "8"}});
  const TrainReport report = run(request);
  EXPECT_LT(report.last_bits_per_byte, report.first_bits_per_byte);
  EXPECT_EQ(open_checkpoint(out_).value().config.sharing.rank, 4);
  const std::vector<double> whole = losses(out_);
  fs::remove_all(out_ / "checkpoint-16");
  request.resume = true;
  run(request);
  EXPECT_EQ(losses(out_), whole);
}

TEST_F(Training, EightBitMomentsLearnAlikeAndResumeToTheBit) {
  TrainRequest request = small_run(data_, out_, 60);
  request.settings.insert(request.settings.end(), {{"save_steps", "30"}, {"optimizer_bits", "8"}});
  const TrainReport coded = run(request);
  const std::vector<double> whole = losses(out_);

  const TrainReport plain = run(small_run(data_, directory_ / "plain", 60));
  EXPECT_LT(coded.optimizer_bytes, 0.6 * plain.optimizer_bytes);  // the tiny preset is half embedding
  // Of more than a nat that is learnt, 0.03 is the noise between seeds.
  const std::vector<double> before = logged(out_, "heldout_loss"), other = logged(directory_ / "plain", "heldout_loss");
  EXPECT_GT(before.front() - before.back(), 1);
  EXPECT_NEAR(before.back(), other.back(), 0.03);
  EXPECT_NE(whole, losses(directory_ / "plain")) << "the setting had no effect";

  fs::remove_all(out_ / "checkpoint-60");
  request.resume = true;
  run(request);
  EXPECT_EQ(losses(out_), whole);
  request.settings = {{"optimizer_bits", "32"}};
  EXPECT_NE(failure(request).find("optimizer_bits"), std::string::npos);
}

// What is computed again is what was computed, whatever is kept; a resumed run need not be told again.
TEST_F(Training, AnActivationBudgetChangesNothingAndIsRemembered) {
  TrainRequest request = small_run(data_, out_, 6);
  request.settings.insert(request.settings.end(), {{"save_steps", "3"}, {"eval_tokens", "512"}});
  run(request);
  const std::vector<double> kept = losses(out_);

  request.out = directory_ / "again";
  request.settings.emplace_back("activation_budget", "30%");
  run(request);
  EXPECT_EQ(losses(request.out), kept);

  fs::remove_all(request.out / "checkpoint-6");
  request.settings.clear();
  request.resume = true;
  run(request);
  EXPECT_EQ(losses(request.out), kept);
  EXPECT_NE(read_file(request.out / "checkpoint-6/trainer_state/train_config.json").value().find("\"activation_budget\": \"30%\""),
            std::string::npos);
  request.settings = {{"activation_budget", "lots"}};
  EXPECT_NE(failure(request).find("'activation_budget': expected bytes"), std::string::npos);
}

TEST_F(Training, TheBestIsKept) {
  TrainRequest request = small_run(data_, out_, 12);
  // Rising all the time, the rate soon undoes what was learnt: by a fifth of a nat, which no rounding makes up for.
  request.settings.insert(request.settings.end(), {{"warmup_ratio", "1"}, {"learning_rate", "0.12"}, {"eval_steps", "3"}});
  const TrainReport report = run(request);
  const std::vector<double> heldout = logged(out_, "heldout_loss");
  ASSERT_EQ(heldout.size(), 5u);
  const auto least = std::min_element(heldout.begin(), heldout.end());
  ASSERT_TRUE(least != heldout.begin() && least != heldout.end() - 1);
  EXPECT_EQ(report.best_heldout, *least);
  EXPECT_EQ(report.best_step, 3 * (least - heldout.begin()));
  ASSERT_EQ(report.best, out_ / "best");
  EXPECT_TRUE(open_checkpoint(report.best).ok());

  TrainRequest from_best = small_run(data_, directory_ / "tuned", 1);
  from_best.from = report.best;
  from_best.settings = {{"max_steps", "1"}, {"heldout_fraction", "0.1"}};
  run(from_best);
  EXPECT_EQ(logged(directory_ / "tuned", "heldout_loss").front(), *least);
}

TEST_F(Training, ASparseModelIsBestOnceItIsSparse) {
  TrainRequest request = small_run(data_, out_, 20);
  request.settings.insert(request.settings.end(), {{"sparsity", "fine"}, {"weight_bits", "4"}, {"eval_steps", "1"}});
  const TrainReport report = run(request);
  // quantize_begin_ratio is 0.6.
  EXPECT_GE(report.best_step, 12);
  const std::vector<double> heldout = logged(out_, "heldout_loss");
  EXPECT_EQ(report.best_heldout, *std::min_element(heldout.begin() + 12, heldout.end()));
}

TEST_F(Training, ARunRemembersItsTeacher) {
  const fs::path teacher = directory_ / "teacher", other = directory_ / "other";
  run(small_run(data_, teacher, 2));
  run(small_run(data_, other, 3));
  TrainRequest request = small_run(data_, out_, 10);
  request.settings.insert(request.settings.end(), {{"save_steps", "5"}, {"eval_steps", "5"}});
  request.teacher = teacher;
  run(request);
  const std::vector<double> whole = losses(out_);
  fs::remove_all(out_ / "checkpoint-10");

  request.resume = true;
  request.teacher = other;
  EXPECT_NE(failure(request).find("other weights than the teacher"), std::string::npos);
  request.teacher.reset();
  run(request);
  EXPECT_EQ(losses(out_), whole);

  fs::remove_all(out_ / "checkpoint-10");
  fs::rename(teacher, directory_ / "moved");
  EXPECT_NE(failure(request).find("--teacher if it moved"), std::string::npos);
  request.teacher = directory_ / "moved";
  run(request);
  EXPECT_EQ(losses(out_), whole);

  request.out = other;
  request.settings = {{"max_steps", "4"}};
  EXPECT_NE(failure(request).find("was trained without one"), std::string::npos);
}

TEST_F(Training, ExplodingLossesAreRolledBackAndEndTheRun) {
  TrainRequest request = small_run(data_, out_, 400);
  request.settings.insert(request.settings.end(),
                          {{"save_steps", "1"}, {"learning_rate", "10"}, {"max_grad_norm", "0"}, {"adam_epsilon", "1e-20"},
                           {"weight_decay", "100"}, {"warmup_ratio", "0.9"}, {"max_bad_batches", "5"}});
  EXPECT_NE(failure(request).find("5 batches in a row"), std::string::npos);
  EXPECT_TRUE(open_checkpoint(out_).ok()) << "what was saved stays";
  EXPECT_NE(read_file(out_ / "metrics.jsonl").value().find("rolled back to"), std::string::npos);
}

TEST_F(Training, ResumingOnOtherTextIsRefused) {
  TrainRequest request = small_run(data_, out_, 5);
  run(request);
  testing::write_corpus(data_, 13, 8000);
  request.settings.emplace_back("max_steps", "6");
  request.resume = true;
  EXPECT_NE(failure(request).find("other text"), std::string::npos);
  EXPECT_EQ(losses(out_).size(), 5u);
}

TEST_F(Training, ResumingACompleteRunChangesNothing) {
  TrainRequest request = small_run(data_, out_, 5);
  run(request);
  request.settings.clear();
  request.resume = true;
  const TrainReport report = run(request);
  EXPECT_EQ(report.steps, 5);
  EXPECT_GT(report.last_bits_per_byte, 0);
  EXPECT_EQ(losses(out_).size(), 5u);
  EXPECT_EQ(logged(out_, "heldout_bits_per_byte").size(), 2u);
}

TEST_F(Training, InterruptFinishesTheStepAndSaves) {
  TrainRequest request = small_run(data_, out_, 1'000'000);
  request.settings.emplace_back("eval_tokens", "256");
  // The signal arrives once training is under way: when the first step's line is in the log.
  std::thread killer([&] {
    for (int i = 0; i < 600 && (!fs::exists(out_ / "metrics.jsonl") || losses(out_).empty()); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    std::raise(SIGINT);
  });
  const TrainReport report = run(request);
  killer.join();
  EXPECT_TRUE(report.interrupted);
  EXPECT_GT(report.steps, 0);
  EXPECT_EQ(report.checkpoint, out_ / ("checkpoint-" + std::to_string(report.steps)));
  EXPECT_TRUE(open_checkpoint(report.checkpoint).ok());
}

TEST_F(Training, GradientAccumulationIsTheBiggerBatch) {
  TrainRequest whole = small_run(data_, out_, 3), parts = small_run(data_, directory_ / "parts", 3);
  for (TrainRequest* request : {&whole, &parts}) request->settings.emplace_back("precision", "fp32");
  whole.settings.emplace_back("batch_size", "4");
  parts.settings.emplace_back("batch_size", "1");
  parts.settings.emplace_back("gradient_accumulation_steps", "4");
  run(whole);
  run(parts);
  const std::vector<double> a = losses(out_), b = losses(directory_ / "parts");
  ASSERT_EQ(a.size(), b.size());
  // The same sums in another order; Adam divides by their size, so rounding is all that may differ.
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 1e-4);
  const std::vector<double> c = logged(out_, "grad_norm"), d = logged(directory_ / "parts", "grad_norm");
  for (size_t i = 0; i < c.size(); ++i) EXPECT_NEAR(c[i] / d[i], 1, 1e-3);
}

TEST_F(Training, StartsFromACheckpoint) {
  const TrainReport first = run(small_run(data_, out_, 40));
  TrainRequest request = small_run(data_, directory_ / "tuned", 1);
  request.from = out_;
  request.settings = {{"max_steps", "1"}, {"sequence_length", "256"}, {"heldout_fraction", "0.1"}};
  EXPECT_NEAR(run(request).first_bits_per_byte, first.last_bits_per_byte, 1e-6);
}

TEST_F(Training, RefusesWhatItCannotDo) {
  const auto with = [&](const std::string& key, const std::string& value) {
    TrainRequest request = small_run(data_, directory_ / "never", 5);
    request.settings.emplace_back(key, value);
    return failure(request);
  };
  EXPECT_NE(with("no_such_key", "1").find("no_such_key"), std::string::npos);
  EXPECT_NE(with("max_steps", "x").find("max_steps"), std::string::npos);
  EXPECT_NE(with("window", "65").find("multiple of stride"), std::string::npos);
  EXPECT_NE(with("num_key_value_heads", "3").find("num_key_value_heads"), std::string::npos);
  EXPECT_NE(with("sequence_length", "1000000").find("tokens"), std::string::npos);

  TrainRequest missing = small_run(directory_ / "nowhere", directory_ / "never", 5);
  EXPECT_NE(failure(missing).find("nowhere"), std::string::npos);
  fs::create_directories(directory_ / "empty");
  TrainRequest empty = small_run(directory_ / "empty", directory_ / "never", 5);
  EXPECT_NE(failure(empty).find("empty"), std::string::npos);
  TrainRequest unknown = small_run(data_, directory_ / "never", 5);
  unknown.preset = "huge";
  EXPECT_NE(failure(unknown).find("nano"), std::string::npos);
}

TEST_F(Training, KeepsAnEarlierRunFromBeingOverwritten) {
  run(small_run(data_, out_, 2));
  EXPECT_NE(failure(small_run(data_, out_, 2)).find("--resume"), std::string::npos);
  TrainRequest changed = small_run(data_, out_, 4);
  changed.resume = true;
  changed.settings = {{"weight_decay", "0.5"}};
  EXPECT_NE(failure(changed).find("weight_decay"), std::string::npos);
  changed.settings = {{"rope_theta", "500"}};
  EXPECT_NE(failure(changed).find("rope_theta"), std::string::npos);
}

TEST_F(Training, AnOldLogDoesNotMixWithANewRun) {
  run(small_run(data_, out_, 2));
  fs::remove_all(out_ / "checkpoint-2");
  run(small_run(data_, out_, 3));
  EXPECT_EQ(losses(out_).size(), 3u);
  EXPECT_EQ(logged(out_, "heldout_bits_per_byte").size(), 2u);
}

}  // namespace
}  // namespace ringflash
