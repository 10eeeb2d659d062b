// `ringflash report`: a page of a run's log, wherever that broke off.
#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/tiny_files.h"

namespace ringflash::testing {
namespace {

class Report : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  void log(std::string_view text) const { ASSERT_TRUE(write_file(directory_ / "metrics.jsonl", text).ok()); }

  const TemporaryDirectory directory_;
};

TEST_F(Report, DrawsALogThatBrokeOff) {
  log("{\"step\":0,\"heldout_loss\":6.5}\n{\"step\":1,\"loss\":6.25,\"tokens\":1024,\"seconds\":2}\n{\"step\":2,\"lo");
  const auto json = one_object(run_ringflash({"report", directory_.path().string(), "--json"}));
  EXPECT_EQ(json["report"], path("report.html"));
  EXPECT_EQ(json["steps"], 1);
  EXPECT_EQ(json["loss"], 6.25);
  EXPECT_EQ(json["heldout_loss"], 6.5);
  EXPECT_EQ(json["peak_memory"], nullptr);
  EXPECT_EQ(json["unreadable_lines"], 1);
  EXPECT_TRUE(read_file(path("report.html")).value().starts_with("<!doctype html>"));
}

TEST_F(Report, WritesWhereItIsTold) {
  log("");
  const Outcome outcome = run_ringflash({"report", directory_.path().string(), "--out", path("elsewhere.html")});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, path("elsewhere.html") + "\n");
  EXPECT_TRUE(std::filesystem::exists(path("elsewhere.html")));
  EXPECT_FALSE(std::filesystem::exists(path("report.html")));
}

TEST_F(Report, ErrorsNameTheFile) {
  expect_failure(run_ringflash({"report", directory_.path().string()}), {"metrics.jsonl", "No such file"});
  log("");
  expect_failure(run_ringflash({"report", directory_.path().string(), "--out", path("none/x.html")}), {"none/x.html"});
}

}  // namespace
}  // namespace ringflash::testing
