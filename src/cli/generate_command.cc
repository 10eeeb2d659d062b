#include <nlohmann/json.hpp>
#include <utility>

#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/prompt_options.h"
#include "cli/sampling_options.h"
#include "runtime/generate.h"

namespace ringflash::cli {
namespace {

class GenerateCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  std::string model_file_;
  PromptOptions prompt_;
  int64_t context_ = 0;
  GenerateOptions options_;
};

void GenerateCommand::add_options(CLI::App& app) {
  app.add_option("MODEL", model_file_, "GGUF file")->type_name("FILE")->required();
  prompt_.add_options(app, "to continue");
  app.add_option("--max-tokens,-n", options_.max_tokens, "Most tokens to generate")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
  add_sampling_options(app, options_.sampling);
  app.add_option("--context", context_, "Most tokens, prompt included; 0 is the model's limit")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
  app.add_flag("--ignore-eos", options_.ignore_eos, "Go on after the end-of-text token");
}

Status GenerateCommand::check() const {
  RF_TRY_VOID(prompt_.check());
  return validate(options_.sampling);
}

nlohmann::ordered_json describe(const std::string& text, const GenerateReport& report) {
  nlohmann::ordered_json object = {{"text", text}};
  object.update(to_json(report));
  return object;
}

Status GenerateCommand::run(const CommonOptions& common) {
  RF_TRY(const std::string prompt, prompt_.read());
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
  RF_TRY_VOID(common.json ? write_json(describe(text, report)) : write_stdout(ahead + "\n"));
  print_timing(report);
  return {};
}

}  // namespace

std::unique_ptr<Command> make_generate_command() {
  return std::make_unique<GenerateCommand>();
}

}  // namespace ringflash::cli
