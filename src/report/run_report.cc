#include "report/run_report.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/progress.h"
#include "format/checkpoint.h"
#include "report/html.h"
#include "report/line_chart.h"
#include "report/page_style.h"

namespace ringflash {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostRows = 500;

using Settings = std::vector<std::pair<std::string, std::string>>;

/// The object's values as text; empty where the file is none.
Settings read_settings(const fs::path& file) {
  Settings settings;
  const Result<std::string> text = read_file(file);
  if (!text) return settings;
  const auto json = nlohmann::ordered_json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return settings;
  for (const auto& [key, value] : json.items()) {
    settings.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return settings;
}

std::string exact(double value) {
  char text[32];
  return std::string(text, std::to_chars(text, text + sizeof text, value).ptr);
}

std::string data(double value, const std::string& shown) {
  return "<data value=\"" + exact(value) + "\">" + escape_html(shown) + "</data>";
}

std::string data(double value, NumberStyle style = NumberStyle::kPlain) {
  return data(value, format_number(value, style));
}

double middle(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

std::string figure(const std::string& value, const std::string& label) {
  return "<div><b>" + value + "</b><span>" + label + "</span></div>\n";
}

std::string figures(const RunMetrics& m) {
  std::string html = "<div class=\"figures\">\n";
  if (!m.heldout_loss.empty()) {
    html += figure(data(m.heldout_loss.values.back()), "held-out loss, nats per token");
    const BestHeldout best = best_heldout(m.heldout_loss);
    html += figure(data(best.loss), "lowest, at step " + data(best.step, NumberStyle::kCount));
  }
  if (!m.heldout_bits_per_byte.empty()) html += figure(data(m.heldout_bits_per_byte.values.back()), "bits per byte");
  if (!m.heldout_accuracy.empty()) {
    html += figure(data(m.heldout_accuracy.values.back(), NumberStyle::kPercent), "next token right");
  }
  if (!m.loss.empty()) html += figure(data(m.loss.values.back()), "loss of the last step");
  if (!m.tokens_per_s.empty()) {
    html += figure(data(middle(m.tokens_per_s.values), NumberStyle::kCount), "tokens a second (median)");
  }
  if (!m.peak_memory.empty()) {
    html += figure(data(m.peak_memory.values.back(), NumberStyle::kBytes), "peak memory");
  }
  if (!m.sparsity.empty()) html += figure(data(m.sparsity.values.back(), NumberStyle::kPercent), "sparsity");
  return html + "</div>\n";
}

std::string charts(const RunMetrics& m) {
  const auto steps = static_cast<double>(m.steps);
  const LineChart loss = {.title = "Loss, nats per token",
                          .lines = {{"training", &m.loss, "one"}, {"held out", &m.heldout_loss, "two", true}},
                          .last_step = steps,
                          .marks = m.skipped,
                          .width = 984,
                          .height = 340};
  std::string html = "<div class=\"charts\">\n<div class=\"wide\">\n" + line_chart_html(loss) + "</div>\n";
  enum class Axis { kFitted, kFromZero, kLog };
  const auto add = [&](const char* title, const Series& series, Axis axis, NumberStyle style = NumberStyle::kPlain) {
    html += line_chart_html({.title = title,
                             .lines = {{"", &series, "one"}},
                             .style = style,
                             .from_zero = axis == Axis::kFromZero,
                             .log_scale = axis == Axis::kLog,
                             .last_step = steps,
                             .marks = {}});
  };
  add("Held-out bits per byte", m.heldout_bits_per_byte, Axis::kFitted);
  add("Learning rate", m.learning_rate, Axis::kFromZero);
  add("Gradient norm", m.grad_norm, Axis::kLog);
  add("Loss scale", m.loss_scale, Axis::kLog, NumberStyle::kCount);
  add("Tokens a second", m.tokens_per_s, Axis::kFromZero, NumberStyle::kCount);
  add("Peak memory", m.peak_memory, Axis::kFromZero, NumberStyle::kBytes);
  add("Sparsity", m.sparsity, Axis::kFromZero, NumberStyle::kPercent);
  add("Weights whose masks changed", m.churn, Axis::kFromZero, NumberStyle::kPercent);
  add("Share of the squared weights kept", m.kept_energy, Axis::kFitted, NumberStyle::kPercent);
  return html + "</div>\n";
}

std::string heldout_table(const RunMetrics& m) {
  if (m.heldout_loss.empty()) return "";
  std::string html = "<details>\n<summary>Held-out evaluations</summary>\n<table id=\"heldout\">\n"
                     "<tr><th>step</th><th>loss</th></tr>\n";
  const size_t count = m.heldout_loss.values.size();
  for (size_t i = count - std::min(count, kMostRows); i < count; ++i) {
    html += "<tr><td>" + data(m.heldout_loss.steps[i], exact(m.heldout_loss.steps[i])) + "</td><td>" +
            data(m.heldout_loss.values[i]) + "</td></tr>\n";
  }
  return html + "</table>\n</details>\n";
}

std::string skipped_table(const RunMetrics& m) {
  if (m.skipped.empty()) return "";
  std::string html = "<details>\n<summary>" + std::to_string(m.skipped.size()) +
                     " skipped batches</summary>\n<table id=\"skipped\">\n<tr><th>after step</th><th>why</th></tr>\n";
  const size_t count = m.skipped.size();
  for (size_t i = count - std::min(count, kMostRows); i < count; ++i) {
    html += "<tr><td>" + std::to_string(m.skipped[i].step) + "</td><td>" + escape_html(m.skipped[i].reason) +
            "</td></tr>\n";
  }
  return html + "</table>\n</details>\n";
}

std::string settings_table(const char* title, const Settings& settings) {
  if (settings.empty()) return "";
  std::string html = std::string("<details open=\"open\">\n<summary>") + title + "</summary>\n<table>\n";
  for (const auto& [key, value] : settings) {
    html += "<tr><th>" + escape_html(key) + "</th><td>" + escape_html(value) + "</td></tr>\n";
  }
  return html + "</table>\n</details>\n";
}

std::string summary(const RunMetrics& m) {
  if (m.loss.empty()) return "<p>No step is logged yet.</p>\n";
  std::string text = "<p>" + data(static_cast<double>(m.steps), NumberStyle::kCount) + " steps, " +
                     data(static_cast<double>(m.tokens), NumberStyle::kCount) + " tokens, " +
                     format_duration(m.seconds) + " of training";
  if (!m.skipped.empty()) text += ", " + std::to_string(m.skipped.size()) + " batches skipped";
  if (m.unreadable_lines > 0) text += "; " + std::to_string(m.unreadable_lines) + " unreadable lines in the log";
  return text + ".</p>\n";
}

}  // namespace

Result<RunRecord> read_run(const fs::path& run) {
  RunRecord record;
  RF_TRY(record.metrics, read_metrics(run));
  const fs::path path = fs::absolute(run).lexically_normal();
  record.name = (path.has_filename() ? path : path.parent_path()).filename().string();
  if (const Result<fs::path> checkpoint = resolve_checkpoint(run)) {
    record.recipe = read_settings(*checkpoint / "trainer_state" / "train_config.json");
    record.model = read_settings(*checkpoint / "config.json");
  }
  return record;
}

BestHeldout best_heldout(const Series& heldout_loss) {
  const auto least = std::min_element(heldout_loss.values.begin(), heldout_loss.values.end());
  RF_CHECK(least != heldout_loss.values.end());
  return {heldout_loss.steps[static_cast<size_t>(least - heldout_loss.values.begin())], *least};
}

std::string run_report_html(const RunRecord& record) {
  const RunMetrics& m = record.metrics;
  const std::string name = escape_html(record.name);
  return std::string(kPageHead) + "<title>" + name + "</title>\n</head>\n<body>\n<main>\n<h1>" + name + "</h1>\n" +
         summary(m) + figures(m) + charts(m) + "<div class=\"tables\">\n" + settings_table("Recipe", record.recipe) +
         settings_table("Model", record.model) + "</div>\n" + heldout_table(m) + skipped_table(m) +
         "</main>\n</body>\n</html>\n";
}

Status write_run_report(const fs::path& run, const fs::path& file) {
  RF_TRY(const RunRecord record, read_run(run));
  return write_file(file, run_report_html(record));
}

}  // namespace ringflash
