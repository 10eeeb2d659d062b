#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/progress.h"
#include "cli/commands.h"
#include "cli/import_ring.h"
#include "import/import_model.h"
#include "model/counts.h"

namespace ringflash::cli {
namespace {

class ImportCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override { return ring_.check(); }
  Status run(const CommonOptions& common) override;

 private:
  std::string source_, out_directory_;
  bool force_ = false;
  RingOptions ring_;
};

void ImportCommand::add_options(CLI::App& app) {
  app.add_option("SRC", source_, "GGUF file, or directory of a Hugging Face model")->type_name("PATH")->required();
  app.add_option("--out", out_directory_, "Checkpoint directory to write")->type_name("DIR")->required();
  app.add_flag("--force", force_, "Replace a checkpoint that is there");
  ring_.add_options(app);
}

nlohmann::ordered_json describe(const RingOptions::Chosen& chosen) {
  nlohmann::ordered_json object = {{"keep_full", chosen.conversion.keep_full}};
  if (chosen.harm.layers.empty()) return object;
  object["full_bits_per_byte"] = chosen.harm.full_bits_per_byte;
  auto& layers = object["harm"] = nlohmann::ordered_json::array();
  for (const LayerHarm& each : chosen.harm.layers) {
    layers.push_back({{"layer", each.layer}, {"bits_per_byte", each.bits_per_byte}});
  }
  return object;
}

Status ImportCommand::run(const CommonOptions& common) {
  ImportOptions options{.force = force_};
  RingOptions::Chosen chosen;
  if (ring_.wanted()) {
    RF_TRY_VOID(prepare_import(out_directory_, force_));  // rather now than after measuring
    RF_TRY(chosen, ring_.choose(source_, common.threads));
    options.ring = chosen.conversion;
  }
  std::optional<Progress> progress;
  options.progress = [&](int64_t done, int64_t total) {
    if (!progress) progress.emplace("import", total);
    progress->update(done);
  };
  RF_TRY(const ImportReport report, import_model(source_, out_directory_, options));
  progress.reset();
  const int64_t parameters = count_parameters(report.config).total();
  if (common.json) {
    nlohmann::ordered_json object = {{"source", source_},
                                     {"directory", out_directory_},
                                     {"architecture", report.architecture},
                                     {"parameters", parameters},
                                     {"stored_types", report.stored_types},
                                     {"weight_bytes", report.weight_bytes}};
    if (ring_.wanted()) object["ring"] = describe(chosen);
    return write_json(object);
  }
  if (!chosen.harm.layers.empty()) RF_TRY_VOID(write_stdout(harm_table(chosen.harm, chosen.conversion.keep_full)));
  return write_stdout(out_directory_ + ": " + report.architecture + ", " + std::to_string(parameters) +
                      " parameters, " + format_bytes(report.weight_bytes) + " of weights, from " + source_ + "\n");
}

}  // namespace

std::unique_ptr<Command> make_import_command() {
  return std::make_unique<ImportCommand>();
}

}  // namespace ringflash::cli
