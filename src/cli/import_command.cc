#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/progress.h"
#include "cli/commands.h"
#include "import/import_model.h"
#include "model/counts.h"

namespace ringflash::cli {
namespace {

class ImportCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status run(const CommonOptions& common) override;

 private:
  std::string source_, out_directory_;
  bool force_ = false;
};

void ImportCommand::add_options(CLI::App& app) {
  app.add_option("SRC", source_, "GGUF file, or directory of a Hugging Face model")->type_name("PATH")->required();
  app.add_option("--out", out_directory_, "Checkpoint directory to write")->type_name("DIR")->required();
  app.add_flag("--force", force_, "Replace a checkpoint that is there");
}

Status ImportCommand::run(const CommonOptions& common) {
  std::optional<Progress> progress;
  const auto show = [&](int64_t done, int64_t total) {
    if (!progress) progress.emplace("import", total);
    progress->update(done);
  };
  RF_TRY(const ImportReport report, import_model(source_, out_directory_, {.force = force_, .progress = show}));
  progress.reset();
  const int64_t parameters = count_parameters(report.config).total();
  if (common.json) {
    return write_json({{"source", source_},
                       {"directory", out_directory_},
                       {"architecture", report.architecture},
                       {"parameters", parameters},
                       {"stored_types", report.stored_types},
                       {"weight_bytes", report.weight_bytes}});
  }
  return write_stdout(out_directory_ + ": " + report.architecture + ", " + std::to_string(parameters) +
                      " parameters, " + format_bytes(report.weight_bytes) + " of weights, from " + source_ + "\n");
}

}  // namespace

std::unique_ptr<Command> make_import_command() {
  return std::make_unique<ImportCommand>();
}

}  // namespace ringflash::cli
