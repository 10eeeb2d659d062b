#include "cli/sampling_options.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/options.h"

namespace ringflash::cli {
namespace {

std::string pace(double tokens_per_s) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f tokens/s", tokens_per_s);
  return std::isnan(tokens_per_s) ? "none to time" : text;
}

}  // namespace

void print_timing(const GenerateReport& report) {
  std::fprintf(stderr, "prompt: %lld tokens, %s; continuation: %lld tokens, %s; stopped at %s\n",
               static_cast<long long>(report.prompt_tokens), pace(report.prefill_tokens_per_s()).c_str(),
               static_cast<long long>(report.generated_tokens), pace(report.decode_tokens_per_s()).c_str(),
               std::string(to_string(report.stop)).c_str());
}

nlohmann::ordered_json to_json(const GenerateReport& report) {
  return {{"prompt_tokens", report.prompt_tokens},
          {"generated_tokens", report.generated_tokens},
          {"prefill_tokens_per_s", report.prefill_tokens_per_s()},
          {"decode_tokens_per_s", report.decode_tokens_per_s()},
          {"stop", to_string(report.stop)}};
}

void add_sampling_options(CLI::App& app, SamplingOptions& sampling) {
  app.add_option("--temperature", sampling.temperature, "0 picks the likeliest token, 1 samples as trained")
      ->type_name("X")
      ->capture_default_str();
  app.add_option("--top-k", sampling.top_k, "Sample among the K likeliest tokens; 0 among all")
      ->type_name("K")
      ->transform(whole_number())
      ->capture_default_str();
  app.add_option("--top-p", sampling.top_p, "Sample among the likeliest tokens that reach probability P")
      ->type_name("P")
      ->capture_default_str();
  app.add_option("--repetition-penalty", sampling.repetition_penalty,
                 "Above 1 makes the last tokens less likely")
      ->type_name("X")
      ->capture_default_str();
  app.add_option("--seed", sampling.seed, "Same seed, same text")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
}

}  // namespace ringflash::cli
