#include "report/run_metrics.h"

#include <gtest/gtest.h>

#include "temporary_directory.h"

namespace ringflash {
namespace {

constexpr std::string_view kLog =
    R"({"step":0,"heldout_loss":6.25,"heldout_bits_per_byte":3.5,"heldout_accuracy":0.01}
{"step":1,"loss":6.125,"learning_rate":1e-05,"grad_norm":2.5,"tokens":1024,"tokens_per_s":512.5,"seconds":2,"peak_memory":1000000}
{"step":1,"tokens":2048,"skipped":"loss nan"}
{"step":2,"loss":null,"learning_rate":2e-05,"grad_norm":null,"tokens":3072,"tokens_per_s":500,"seconds":4}
{"step":2,"mask_kept":25,"mask_weights":100,"mask_regrown":3,"mask_pruned":7,"mask_kept_energy":0.5}
)";

TEST(RunMetrics, EveryNumberIsTakenWhereItIsOne) {
  const RunMetrics m = parse_metrics(kLog);
  EXPECT_EQ(m.heldout_loss.values, (std::vector<double>{6.25}));
  EXPECT_EQ(m.loss.steps, (std::vector<double>{1}));
  EXPECT_EQ(m.loss.values, (std::vector<double>{6.125}));
  EXPECT_EQ(m.grad_norm.values, (std::vector<double>{2.5}));
  EXPECT_EQ(m.learning_rate.values, (std::vector<double>{1e-5, 2e-5}));
  EXPECT_EQ(m.tokens_per_s.values, (std::vector<double>{512.5, 500}));
  EXPECT_EQ(m.peak_memory.values, (std::vector<double>{1e6}));
  EXPECT_EQ(m.sparsity.values, (std::vector<double>{0.75}));
  EXPECT_EQ(m.churn.values, (std::vector<double>{0.1}));
  EXPECT_EQ(m.kept_energy.values, (std::vector<double>{0.5}));
  ASSERT_EQ(m.skipped.size(), 1u);
  EXPECT_EQ(m.skipped[0].reason, "loss nan");
  EXPECT_EQ(m.steps, 2);
  EXPECT_EQ(m.tokens, 3072);
  EXPECT_EQ(m.seconds, 4);
  EXPECT_EQ(m.unreadable_lines, 0);
}

TEST(RunMetrics, EveryCutOfALogIsReadable) {
  const size_t lines = 5;
  for (size_t size = 0; size <= kLog.size(); ++size) {
    const RunMetrics m = parse_metrics(kLog.substr(0, size));
    EXPECT_LE(m.unreadable_lines, 1) << size;
    const size_t read = m.learning_rate.values.size() + m.heldout_loss.values.size() + m.sparsity.values.size();
    EXPECT_LE(read + m.skipped.size(), lines);
  }
}

TEST(RunMetrics, OtherLinesAreCountedAndPassedOver) {
  const RunMetrics m = parse_metrics(
      "\n\n[1]\n7\nnonsense\n{\"loss\":1}\n{\"step\":\"x\",\"loss\":1}\n"
      "{\"step\":-1,\"loss\":1}\n{\"step\":1e300,\"loss\":1}\n"
      "{\"step\":3,\"loss\":1e999}\n{\"step\":3,\"loss\":1e300}\n{\"step\":3,\"loss\":\"a\",\"skipped\":4}\n\xff\xfe\n"
      "{\"step\":3,\"tokens\":1e20}\n");
  EXPECT_TRUE(m.loss.empty());
  EXPECT_TRUE(m.skipped.empty());
  EXPECT_EQ(m.unreadable_lines, 10);
}

TEST(RunMetrics, AMissingLogIsAnError) {
  const testing::TemporaryDirectory directory;
  const Result<RunMetrics> missing = read_metrics(directory.path());
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("metrics.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace ringflash
