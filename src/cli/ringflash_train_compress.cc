#include "cli/ringflash_train_compress.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/progress.h"
#include "base/thread_pool.h"

namespace ringflash::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kExamples = R"(Examples:
  ringflash compress --from run/ --out small/ --calib text.txt
  ringflash compress --from run/ --out small/ --calib text.txt --sparsity 0.75 --bits 8 --heal-steps 500
  ringflash compress --from run/ --out sizes/ --calib text.txt --sparsity 0,0.5,0.75 --eval other.txt)";

/// Of 64 weights, how many a sparsity leaves.
int64_t kept_of_group(double sparsity) {
  return kSparseGroup - std::llround(sparsity * static_cast<double>(kSparseGroup));
}

/// "s50-4bit" where half of the weights go and the others have 4 bits.
std::string folder_name(double sparsity, int64_t bits) {
  return "s" + std::to_string(std::lround(100 * sparsity)) + "-" + std::to_string(bits) + "bit";
}

/// The format that holds what compression made of the weights.
ExportFormat export_format(const SparsityConfig& sparsity) {
  if (sparsity.pattern != SparsePattern::kFine || sparsity.weight_bits == 16) return ExportFormat::kBF16;
  return sparsity.weight_bits == 4 ? ExportFormat::kS4 : ExportFormat::kS8;
}

}  // namespace

void CompressCommand::add_options(CLI::App& app) {
  app.add_option("--from", request_.from, "The trained checkpoint")->required();
  app.add_option("--out", request_.out, "Folder for the compressed checkpoint; must not exist")->required();
  app.add_option("--calib", request_.calib, "Text like that which the model will see")->required();
  app.add_option("--sparsity", sparsities_, "Share of the weights that goes, in 64ths; several with commas, for --eval")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 0.99))
      ->capture_default_str();
  app.add_option("--bits", bits_, "Of the weights that stay: 4, 8 or 16")
      ->check(CLI::IsMember({4, 8, 16}))
      ->capture_default_str();
  app.add_option("--pattern", pattern_, "fine (of each 64 weights) or block (tiles of 16 x 2)")
      ->check(CLI::IsMember({"fine", "block"}))
      ->capture_default_str();
  app.add_option("--method", request_.method,
                 "magnitude, wanda, or obs (errors made up for, as in SparseGPT)")
      ->check(CLI::IsMember({"magnitude", "wanda", "obs"}))
      ->capture_default_str();
  app.add_option("--calib-tokens", request_.calib_tokens, "At most this many tokens of the text")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 26))
      ->capture_default_str();
  app.add_option("--heal-steps", request_.heal_steps, "Steps of distillation from the dense model afterwards")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--data", request_.data, "Text to heal on; without it the calibration text");
  app.add_option("--set", settings_, "key=value of healing's recipe, as `ringflash train` has it; may be repeated");
  app.add_option("--eval", eval_files_,
                 "Text to measure on, may be repeated: each model goes into --out with its GGUF, and a table beside them");
  app.footer(kExamples);
}

Result<CompressRequest> CompressCommand::request_for(double sparsity) const {
  CompressRequest request = request_;
  RF_TRY(request.sparsity.pattern, parse_sparse_pattern(pattern_));
  request.sparsity.keep = kept_of_group(sparsity);
  request.sparsity.weight_bits = bits_;
  if (Status valid = validate(request.sparsity); !valid) {
    return valid.error().in("--sparsity " + std::to_string(sparsity) + " with --bits " + std::to_string(bits_));
  }
  for (const std::string& setting : settings_) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) return Error{"--set takes key=value, found '" + setting + "'"};
    request.heal_settings.emplace_back(setting.substr(0, equals), setting.substr(equals + 1));
  }
  if (!eval_files_.empty()) request.out /= folder_name(sparsity, bits_);
  return request;
}

Status CompressCommand::check() const {
  if (sparsities_.size() > 1 && eval_files_.empty()) return Error{"several of --sparsity need --eval"};
  for (const double sparsity : sparsities_) {
    if (const auto request = request_for(sparsity); !request) return request.error();
  }
  return {};
}

Status CompressCommand::run(const CommonOptions& common) {
  request_.threads = common.threads;
  return eval_files_.empty() ? run_one(common) : run_table(common);
}

Status CompressCommand::run_one(const CommonOptions& common) const {
  RF_TRY(const CompressRequest request, request_for(sparsities_.front()));
  RF_TRY(const CompressReport report, compress_model(request));
  if (common.json) {
    nlohmann::ordered_json json = {
        {"checkpoint", report.checkpoint.string()}, {"method", request.method},
        {"linear_weights", report.linear_weights},  {"active_weights", report.active_weights},
        {"calibration_tokens", report.tokens},      {"loss_before", report.loss_before},
        {"loss_after", report.loss_after},          {"seconds", report.seconds}};
    if (request.heal_steps > 0) json["loss_healed"] = report.loss_healed;
    return write_json(json);
  }
  std::fprintf(stderr,
               "%s of %s weights in linear layers stay; held-out nats per token %.4f before, %.4f after",
               format_count(static_cast<double>(report.active_weights)).c_str(),
               format_count(static_cast<double>(report.linear_weights)).c_str(), report.loss_before,
               report.loss_after);
  if (request.heal_steps > 0) std::fprintf(stderr, ", %.4f healed", report.loss_healed);
  std::fprintf(stderr, " (%s)\n", format_duration(report.seconds).c_str());
  return write_stdout(report.checkpoint.string() + "\n");
}

Status CompressCommand::add_rows(double sparsity, const std::vector<EvalText>& texts, Executor& executor,
                                 std::vector<TableRow>& rows) const {
  RF_TRY(const CompressRequest request, request_for(sparsity));
  RF_TRY(const CompressReport report, compress_model(request));
  const double gone = 1 - static_cast<double>(request.sparsity.keep) / static_cast<double>(kSparseGroup);
  const auto add = [&](const fs::path& checkpoint, const char* how, int64_t heal_steps) -> Status {
    const fs::path file = request.out.string() + how + ".gguf";
    RF_TRY(TableRow row, measure_model(checkpoint, file, export_format(request.sparsity), texts, executor));
    row.name = request.out.filename().string() + how;
    row.sparsity = gone;
    row.bits = bits_;
    row.heal_steps = heal_steps;
    rows.push_back(std::move(row));
    return {};
  };
  RF_TRY_VOID(add(report.one_shot, "", 0));
  return request.heal_steps > 0 ? add(report.checkpoint, "-healed", request.heal_steps) : Status();
}

Status CompressCommand::run_table(const CommonOptions& common) const {
  std::vector<EvalText> texts;
  for (const std::string& file : eval_files_) {
    RF_TRY(std::string text, read_file(file));
    texts.push_back({fs::path(file).stem().string(), std::move(text)});
  }
  std::error_code error;
  fs::create_directories(request_.out, error);
  if (error) return Error{request_.out.string() + ": cannot create the folder: " + error.message()};
  ThreadPool executor(common.threads);
  std::vector<TableRow> rows;
  RF_TRY(TableRow dense, measure_model(request_.from, request_.out / "dense.gguf", ExportFormat::kQ8, texts, executor));
  dense.name = "dense";
  dense.bits = 8;
  rows.push_back(std::move(dense));
  for (const double sparsity : sparsities_) RF_TRY_VOID(add_rows(sparsity, texts, executor, rows));
  const std::string title = request_.from.filename().string() + ", compressed";
  RF_TRY_VOID(write_file(request_.out / "table.json", table_json(title, rows, texts).dump(2) + "\n"));
  RF_TRY_VOID(write_file(request_.out / "table.html", table_html(title, rows, texts)));
  if (common.json) return write_json(table_json(title, rows, texts));
  return write_stdout((request_.out / "table.html").string() + "\n");
}

}  // namespace ringflash::cli
