#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <cstdio>
#include <optional>

#include "base/progress.h"
#include "cli/commands.h"
#include "format/export_gguf.h"

namespace ringflash::cli {
namespace {

/// "8.0" where `bytes` is an eighth of `whole`.
std::string one_in(uint64_t whole, uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", static_cast<double>(whole) / static_cast<double>(bytes));
  return text;
}

class ExportCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  std::string checkpoint_directory_, out_file_, format_ = "bf16";
};

void ExportCommand::add_options(CLI::App& app) {
  app.add_option("DIR", checkpoint_directory_,
                 "Checkpoint, or a training run's directory (its last checkpoint)")
      ->type_name("DIR")
      ->required();
  app.add_option("--out", out_file_, "GGUF file to write")->type_name("FILE")->required();
  app.add_option("--format", format_, "How weights are stored: f32, bf16, q8, q4, q4_1, q5_0, auto (as imported), s8 or s4 (sparse)")
      ->type_name("NAME")
      ->capture_default_str();
}

Status ExportCommand::check() const {
  if (auto format = parse_export_format(format_); !format) return format.error().in("--format");
  return {};
}

Status ExportCommand::run(const CommonOptions& common) {
  RF_TRY(const ExportFormat format, parse_export_format(format_));
  RF_TRY(const Checkpoint checkpoint, open_checkpoint(checkpoint_directory_));
  std::optional<Progress> progress;
  RF_TRY(const ExportReport report,
         export_gguf(checkpoint, out_file_, format, [&](int64_t done, int64_t total) {
           if (!progress) progress.emplace("export", total);
           progress->update(done);
         }));
  progress.reset();
  if (common.json) {
    return write_json({{"file", out_file_},
                       {"checkpoint", checkpoint.directory.string()},
                       {"format", format_},
                       {"file_bytes", report.file_bytes},
                       {"linear_bytes", report.linear_bytes},
                       {"embedding_bytes", report.embedding_bytes},
                       {"other_bytes", report.other_bytes},
                       {"linear_fp16_bytes", report.linear_fp16_bytes},
                       {"fp16_bytes", report.fp16_bytes}});
  }
  return write_stdout(out_file_ + ": " + format_bytes(report.file_bytes) + " (linear weights " +
                      format_bytes(report.linear_bytes) + ", 1/" +
                      one_in(report.linear_fp16_bytes, report.linear_bytes) + " of FP16, embedding " +
                      format_bytes(report.embedding_bytes) + ", other " + format_bytes(report.other_bytes) +
                      "), from " + checkpoint.directory.string() + "\n");
}

}  // namespace

std::unique_ptr<Command> make_export_command() {
  return std::make_unique<ExportCommand>();
}

}  // namespace ringflash::cli
