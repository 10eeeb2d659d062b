#include "cli/ringflash_train_compress.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/progress.h"

namespace ringflash::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  ringflash compress --from run/ --out small/ --calib text.txt
  ringflash compress --from run/ --out small/ --calib text.txt --sparsity 0.75 --bits 8 --heal-steps 500)";

/// Of 64 weights, how many a sparsity leaves.
int64_t kept_of_group(double sparsity) {
  return kSparseGroup - std::llround(sparsity * static_cast<double>(kSparseGroup));
}

}  // namespace

void CompressCommand::add_options(CLI::App& app) {
  app.add_option("--from", request_.from, "The trained checkpoint")->required();
  app.add_option("--out", request_.out, "Folder for the compressed checkpoint; must not exist")->required();
  app.add_option("--calib", request_.calib, "Text like that which the model will see")->required();
  app.add_option("--sparsity", sparsity_, "Share of the weights that goes, in 64ths")
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
  app.add_option("--learning-rate", request_.learning_rate, "Of healing")->check(CLI::PositiveNumber);
  app.footer(kExamples);
}

Status CompressCommand::check() const {
  SparsityConfig sparsity = request_.sparsity;
  sparsity.keep = kept_of_group(sparsity_);
  sparsity.weight_bits = bits_;
  if (Status valid = validate(sparsity); !valid) {
    return valid.error().in("--sparsity " + std::to_string(sparsity_) + " with --bits " +
                            std::to_string(bits_));
  }
  return {};
}

Status CompressCommand::run(const CommonOptions& common) {
  RF_TRY(request_.sparsity.pattern, parse_sparse_pattern(pattern_));
  request_.sparsity.keep = kept_of_group(sparsity_);
  request_.sparsity.weight_bits = bits_;
  request_.threads = common.threads;
  RF_TRY(const CompressReport report, compress_model(request_));
  if (common.json) {
    nlohmann::ordered_json json = {
        {"checkpoint", report.checkpoint.string()}, {"method", request_.method},
        {"linear_weights", report.linear_weights},  {"active_weights", report.active_weights},
        {"calibration_tokens", report.tokens},      {"loss_before", report.loss_before},
        {"loss_after", report.loss_after},          {"seconds", report.seconds}};
    if (request_.heal_steps > 0) json["loss_healed"] = report.loss_healed;
    return write_json(json);
  }
  std::fprintf(stderr,
               "%s of %s weights in linear layers stay; held-out nats per token %.4f before, %.4f after",
               format_count(static_cast<double>(report.active_weights)).c_str(),
               format_count(static_cast<double>(report.linear_weights)).c_str(), report.loss_before,
               report.loss_after);
  if (request_.heal_steps > 0) std::fprintf(stderr, ", %.4f healed", report.loss_healed);
  std::fprintf(stderr, " (%s)\n", format_duration(report.seconds).c_str());
  return write_stdout(report.checkpoint.string() + "\n");
}

}  // namespace ringflash::cli
