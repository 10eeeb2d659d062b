#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/file.h"
#include "base/thread_pool.h"
#include "cli/commands.h"
#include "runtime/generate.h"

namespace ringflash::cli {
namespace {

class GenerateCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override { return validate(options_.sampling); }
  Status run(const CommonOptions& common) override;

 private:
  std::string model_file_, prompt_, prompt_file_;
  int64_t context_ = 0;
  GenerateOptions options_;
};

void GenerateCommand::add_options(CLI::App& app) {
  SamplingOptions& sampling = options_.sampling;
  app.add_option("MODEL", model_file_, "GGUF file")->required();
  CLI::Option_group* prompt = app.add_option_group("Prompt");
  prompt->add_option("-p,--prompt", prompt_, "Text to continue");
  prompt->add_option("--prompt-file", prompt_file_, "File with the text to continue");
  prompt->require_option(1);
  app.add_option("-n,--max-tokens", options_.max_tokens, "Most tokens to generate")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--temperature", sampling.temperature, "0 picks the likeliest token, 1 samples as trained")
      ->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "Sample among the K likeliest tokens; 0 among all")
      ->capture_default_str();
  app.add_option("--top-p", sampling.top_p, "Sample among the likeliest tokens that reach probability P")
      ->capture_default_str();
  app.add_option("--repetition-penalty", sampling.repetition_penalty,
                 "Above 1 makes the last tokens less likely")
      ->capture_default_str();
  app.add_option("--seed", sampling.seed, "Same seed, same text")->capture_default_str();
  app.add_option("--context", context_, "Most tokens, prompt included; 0 is the model's limit")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_flag("--ignore-eos", options_.ignore_eos, "Go on after the end-of-text token");
}

std::string pace(double tokens_per_s) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f tokens/s", tokens_per_s);
  return std::isnan(tokens_per_s) ? "none to time" : text;
}

void print_timing(const GenerateReport& report) {
  std::fprintf(stderr, "prompt: %lld tokens, %s; continuation: %lld tokens, %s; stopped at %s\n",
               static_cast<long long>(report.prompt_tokens), pace(report.prefill_tokens_per_s()).c_str(),
               static_cast<long long>(report.generated_tokens), pace(report.decode_tokens_per_s()).c_str(),
               std::string(to_string(report.stop)).c_str());
}

nlohmann::ordered_json to_json(const std::string& text, const GenerateReport& report) {
  return {{"text", text},
          {"prompt_tokens", report.prompt_tokens},
          {"generated_tokens", report.generated_tokens},
          {"prefill_tokens_per_s", report.prefill_tokens_per_s()},
          {"decode_tokens_per_s", report.decode_tokens_per_s()},
          {"stop", to_string(report.stop)}};
}

Status GenerateCommand::run(const CommonOptions& common) {
  std::string prompt = prompt_;
  if (!prompt_file_.empty()) {
    RF_TRY(prompt, read_file(prompt_file_));
  }
  RF_TRY(const Model model, Model::load(model_file_));
  ThreadPool pool(common.threads);
  Session session(model, pool, context_);

  std::string text;
  std::string ahead = prompt;  // printed with the first text: a prompt that does not fit prints nothing
  Status written;
  const auto on_text = [&](std::string_view piece) {
    text += piece;
    if (!common.json) written = write_stdout(std::exchange(ahead, {}) + std::string(piece));
    return written.ok();
  };
  RF_TRY(const GenerateReport report, generate_text(session, prompt, options_, on_text));
  RF_TRY_VOID(written);
  RF_TRY_VOID(common.json ? write_json(to_json(text, report)) : write_stdout(ahead + "\n"));
  print_timing(report);
  return {};
}

}  // namespace

std::unique_ptr<Command> make_generate_command() {
  return std::make_unique<GenerateCommand>();
}

}  // namespace ringflash::cli
