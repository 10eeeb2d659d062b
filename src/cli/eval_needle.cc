#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/file.h"
#include "base/progress.h"
#include "cli/eval_tasks.h"
#include "cli/options.h"
#include "eval/needle.h"
#include "eval/needle_html.h"
#include "model/counts.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kMostTokens = int64_t{1} << 27;
constexpr int64_t kMostSamples = 1'000'000;

nlohmann::ordered_json to_json(const NeedleCount& count) {
  return {{"samples", count.samples}, {"found", count.found}, {"accuracy", count.accuracy()}};
}

nlohmann::ordered_json to_json(const NeedleReport& report, const NeedleOptions& options) {
  auto rows = nlohmann::ordered_json::array();
  for (const NeedleCell& cell : report.cells) {
    nlohmann::ordered_json row = {{"length", cell.length}, {"depth", cell.depth}};
    row.update(to_json(cell.count));
    row["beyond_window"] = cell.beyond_window;
    rows.push_back(std::move(row));
  }
  return {{"seed", options.seed},
          {"rows", std::move(rows)},
          {"total", to_json(report.total())},
          {"beyond_window", to_json(report.beyond_window())},
          {"seconds", report.seconds}};
}

std::string percent(const NeedleCount& count) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * count.accuracy());
  return count.samples > 0 ? text : "-";
}

/// The grid for a terminal: a line per length, a column per depth.
std::string to_text(const NeedleReport& report) {
  char field[64];
  std::string text = "found %  depth";
  for (const int64_t depth : report.depths) {
    std::snprintf(field, sizeof field, "%6lld%%", static_cast<long long>(depth));
    text += field;
  }
  for (size_t i = 0; i < report.cells.size(); ++i) {
    const NeedleCell& cell = report.cells[i];
    if (i % report.depths.size() == 0) {
      std::snprintf(field, sizeof field, "\n%14lld", static_cast<long long>(cell.length));
      text += field;
    }
    std::snprintf(field, sizeof field, "%6.0f%c", 100 * cell.count.accuracy(),
                  cell.beyond_window ? ' ' : '*');
    text += field;
  }
  text += "\nfound in all " + percent(report.total()) + ", beyond the window " +
          percent(report.beyond_window()) + " (* the window reaches the fact), " +
          format_duration(report.seconds) + "\n";
  return text;
}

class NeedleTask final : public EvalTask {
 public:
  std::string name() const override { return "needle"; }
  std::string summary() const override { return "finding a fact in a long text, by depth and length"; }
  bool needs_data() const override { return false; }
  void add_options(CLI::App& options) override;
  Status run(const EvalInput& input) override;

 private:
  NeedleOptions options_;
  std::optional<std::string> html_file_;
};

void NeedleTask::add_options(CLI::App& options) {
  options
      .add_option("--lengths", options_.lengths,
                  "Tokens of the texts; by default 1024, 2048, ... the model's limit")
      ->type_name("N,N,...")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(whole_number(1, kMostTokens));
  options.add_option("--depths", options_.depths, "Where in them the fact stands, in percent")
      ->type_name("P,P,...")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->transform(whole_number(0, 100))
      ->default_str("0,25,50,75,100");
  options.add_option("--samples", options_.samples, "Texts for each length and depth")
      ->type_name("N")
      ->transform(whole_number(1, kMostSamples))
      ->capture_default_str();
  options.add_option("--seed", options_.seed, "Same seed, same texts")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
  options.add_option("--html", html_file_, "Heat map to write")->type_name("FILE");
}

Status NeedleTask::run(const EvalInput& input) {
  std::optional<AtomicFile> html;  // opened first: a place that cannot be written to is told before the work
  if (html_file_) {
    RF_TRY(AtomicFile file, AtomicFile::create(*html_file_));
    html.emplace(std::move(file));
  }
  std::optional<Progress> progress;
  RF_TRY(const NeedleReport report,
         evaluate_needle(input.model, input.executor, input.data, options_, [&](int64_t done, int64_t total) {
           if (!progress) progress.emplace("needle", total);
           progress->update(done);
         }));
  progress.reset();
  if (html) {
    const ModelConfig& config = input.model.config();
    const std::string name = std::filesystem::path(input.model_file).filename().string();
    const NeedlePage page{.model = name, .config = config, .parameters = count_parameters(config).total()};
    RF_TRY_VOID(html->write(needle_html(report, page)));
    RF_TRY_VOID(html->commit());
  }
  return input.json ? write_json(to_json(report, options_)) : write_stdout(to_text(report));
}

}  // namespace

std::unique_ptr<EvalTask> make_needle_task() {
  return std::make_unique<NeedleTask>();
}

}  // namespace ringflash::cli
