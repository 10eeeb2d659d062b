#include "report/run_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "report/xml_check.h"
#include "temporary_directory.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

/// The numbers of all <data value="..."> of `html`.
std::vector<double> data_values(std::string_view html) {
  constexpr std::string_view kData = "<data value=\"";
  std::vector<double> values;
  for (size_t at = html.find(kData); at != html.npos; at = html.find(kData, at + 1)) {
    const std::string_view text = html.substr(at + kData.size());
    double value = std::nan("");
    std::from_chars(text.data(), text.data() + text.find('"'), value);
    values.push_back(value);
  }
  return values;
}

bool holds(const std::vector<double>& values, double value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

class RunReport : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directory(run_); }

  void log(const nlohmann::json& line) { text_ += line.dump() + "\n"; }

  /// The page of the log so far.
  std::string page() {
    EXPECT_TRUE(write_file(run_ / "metrics.jsonl", text_).ok());
    const Status written = write_run_report(run_, run_ / kReportFile);
    EXPECT_TRUE(written.ok()) << written.error().message;
    const std::string html = read_file(run_ / kReportFile).value();
    EXPECT_EQ(testing::xml_error(html), "");
    return html;
  }

  const testing::TemporaryDirectory directory_;
  const fs::path run_ = directory_ / "a <run> & \"more\"";
  std::string text_;
};

TEST_F(RunReport, FiguresEqualTheLogs) {
  std::vector<double> heldout;
  double loss = 0;
  for (int step = 0; step <= 1000; ++step) {
    loss = 2 + 4 * std::exp(-step / 200.0) + 0.01 * std::sin(step);
    if (step > 0) {
      log({{"step", step}, {"loss", loss}, {"learning_rate", 1e-4}, {"grad_norm", 1.5 / step}, {"tokens", 1024 * step},
           {"tokens_per_s", 1000.0 + step}, {"seconds", step}, {"peak_memory", 123456789}});
    }
    if (step % 250 == 0 && step > 0) {
      log({{"step", step}, {"mask_kept", 400 - step / 10}, {"mask_weights", 400}, {"mask_regrown", 11}, {"mask_pruned", 9},
           {"mask_kept_energy", 0.9}});
    }
    if (step % 100 == 0) {
      heldout.push_back(loss + (step == 700 ? -2 : 0.1));
      log({{"step", step}, {"heldout_loss", heldout.back()}, {"heldout_bits_per_byte", heldout.back() / 3},
           {"heldout_accuracy", 0.4321}});
    }
  }
  log({{"step", 1000}, {"skipped", "loss < nan & \"more\""}});
  const std::string html = page();
  const std::vector<double> values = data_values(html);
  for (const double value : heldout) EXPECT_TRUE(holds(values, value)) << value;
  // The last loss, the lowest held-out one's step, the median speed, the peak, the accuracy, the tokens.
  for (const double value : {loss, 700.0, 1501.0, 123456789.0, 0.4321, 1024.0 * 1000}) {
    EXPECT_TRUE(holds(values, value)) << value;
  }
  EXPECT_NE(html.find("loss &lt; nan &amp;"), std::string::npos);
  EXPECT_NE(html.find("a &lt;run&gt; &amp;"), std::string::npos);
  for (const char* title :
       {"Loss, nats per token", "Learning rate", "Gradient norm", "Tokens a second", "Peak memory", "Held-out bits per byte", "Sparsity",
        "Weights whose masks changed"}) {
    EXPECT_NE(html.find(title), std::string::npos) << title;
  }
  EXPECT_TRUE(holds(values, 0.25)) << "sparsity in the end";
  EXPECT_EQ(html.find("Loss scale"), std::string::npos) << "nothing was logged of it";
  for (const char* outside : {"http", "<script", "url("}) EXPECT_EQ(html.find(outside), std::string::npos) << outside;
}

TEST_F(RunReport, SettingsComeFromTheNewestCheckpoint) {
  for (const int step : {5, 10}) {
    const fs::path checkpoint = run_ / ("checkpoint-" + std::to_string(step));
    fs::create_directories(checkpoint / "trainer_state");
    ASSERT_TRUE(write_file(checkpoint / "config.json", R"({"hidden_size": 64, "attention": ["ring", "full"]})").ok());
    const std::string recipe = R"({"max_steps": )" + std::to_string(step) + R"(, "precision": "<bf16>"})";
    ASSERT_TRUE(write_file(checkpoint / "trainer_state" / "train_config.json", recipe).ok());
  }
  const std::string html = page();
  EXPECT_NE(html.find("<tr><th>max_steps</th><td>10</td></tr>"), std::string::npos);
  EXPECT_NE(html.find("<td>&lt;bf16&gt;</td>"), std::string::npos);
  EXPECT_NE(html.find("<td>[&quot;ring&quot;,&quot;full&quot;]</td>"), std::string::npos);
}

TEST_F(RunReport, EmptyAndTruncatedLogsAreReported) {
  EXPECT_NE(page().find("No step is logged yet"), std::string::npos);
  log({{"step", 0}, {"heldout_loss", 6.5}});
  EXPECT_TRUE(holds(data_values(page()), 6.5));
  log({{"step", 1}, {"loss", 6.25}});
  text_ += R"({"step":2,"lo)";
  const std::string html = page();
  EXPECT_TRUE(holds(data_values(html), 6.25));
  EXPECT_NE(html.find("1 unreadable lines in the log"), std::string::npos);
}

TEST_F(RunReport, HostileLogsAreReported) {
  text_ = "{\"step\":1,\"loss\":1e29,\"skipped\":\"\\u0001</title>\"}\n{\"step\":0,\"loss\":-1e29}\n\xff\n";
  page();
}

TEST(XmlCheck, FindsMistakes) {
  const std::string page = "<!doctype html>\n<a b=\"c\" d=\"e\">x &amp; y<f/></a>\n";
  EXPECT_EQ(testing::xml_error(page), "");
  for (const auto& [good, bad] : std::vector<std::pair<std::string, std::string>>{
           {"</a>", ""}, {"</a>", "</f>"}, {"<f/>", "<f>"}, {"&amp;", "&"}, {"=\"c\"", "=c"}, {" d=", " b="},
           {"x", "<"}, {"\"e\"", "\"<\""}, {"x", "\x01"}, {"</a>\n", "</a>x"}, {"<!doctype html>\n", ""}}) {
    std::string broken = page;
    broken.replace(broken.find(good), good.size(), bad);
    EXPECT_NE(testing::xml_error(broken), "") << broken;
  }
}

TEST_F(RunReport, NoLogIsAnErrorThatNamesIt) {
  const Status status = write_run_report(run_, run_ / kReportFile);
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().message.find("metrics.jsonl"), std::string::npos);
  EXPECT_FALSE(fs::exists(run_ / kReportFile));
}

}  // namespace
}  // namespace ringflash
