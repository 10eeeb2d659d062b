#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/prompt_options.h"
#include "runtime/model.h"

namespace ringflash::cli {
namespace {

constexpr const char* kNotes = R"(Prints a line for each token: its id, a tab, and the text it stands for as a JSON string. A text begins with the
model's BOS where its prompts do.)";

class TokenizeCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override { return prompt_.check(); }
  Status run(const CommonOptions& common) override;

 private:
  std::string model_file_;
  PromptOptions prompt_;
  bool plain_ = false;
};

void TokenizeCommand::add_options(CLI::App& app) {
  app.add_option("MODEL", model_file_, "GGUF file")->type_name("FILE")->required();
  prompt_.add_options(app, "to take apart");
  app.add_flag("--plain", plain_, "Names of special tokens, such as <|im_start|>, are text like any other");
  app.footer(app.get_footer() + "\n\n" + kNotes);
}

/// A token's bytes may be part of a character only: those become U+FFFD.
std::string line_of(const Tokenizer& tokenizer, int32_t id) {
  const nlohmann::json text = std::string(tokenizer.bytes(id));
  return std::to_string(id) + "\t" + text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Status TokenizeCommand::run(const CommonOptions& common) {
  RF_TRY(const std::string text, prompt_.read());
  RF_TRY(const Model model, Model::inspect(model_file_));
  const Tokenizer& tokenizer = model.tokenizer();
  const std::vector<int32_t> ids = tokenizer.encode_prompt(text, plain_ ? SpecialText::kPlain : SpecialText::kParsed);
  if (common.json) return write_json({{"tokens", ids.size()}, {"bytes", text.size()}, {"ids", ids}});
  std::string lines;
  for (const int32_t id : ids) lines += line_of(tokenizer, id);
  RF_TRY_VOID(write_stdout(lines));
  std::fprintf(stderr, "%zu tokens of %zu bytes\n", ids.size(), text.size());
  return {};
}

}  // namespace

std::unique_ptr<Command> make_tokenize_command() {
  return std::make_unique<TokenizeCommand>();
}

}  // namespace ringflash::cli
