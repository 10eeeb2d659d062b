#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cli/commands.h"
#include "report/run_report.h"

namespace ringflash::cli {
namespace {

class ReportCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status run(const CommonOptions& common) override;

 private:
  std::string directory_, file_;
};

void ReportCommand::add_options(CLI::App& app) {
  app.add_option("DIR", directory_, "A training run's directory")->type_name("DIR")->required();
  app.add_option("--out", file_, "HTML file to write; by default DIR/report.html")->type_name("FILE");
}

nlohmann::ordered_json last_or_null(const Series& series) {
  return series.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(series.values.back());
}

Status ReportCommand::run(const CommonOptions& common) {
  const std::string file = file_.empty() ? (std::filesystem::path(directory_) / kReportFile).string() : file_;
  RF_TRY(const RunRecord record, read_run(directory_));
  RF_TRY_VOID(write_file(file, run_report_html(record)));
  if (!common.json) return write_stdout(file + "\n");
  const RunMetrics& m = record.metrics;
  return write_json({{"report", file},
                     {"steps", m.steps},
                     {"tokens", m.tokens},
                     {"seconds", m.seconds},
                     {"loss", last_or_null(m.loss)},
                     {"heldout_loss", last_or_null(m.heldout_loss)},
                     {"peak_memory", last_or_null(m.peak_memory)},
                     {"skipped", m.skipped.size()},
                     {"unreadable_lines", m.unreadable_lines}});
}

}  // namespace

std::unique_ptr<Command> make_report_command() {
  return std::make_unique<ReportCommand>();
}

}  // namespace ringflash::cli
