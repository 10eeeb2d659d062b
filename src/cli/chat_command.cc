#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/thread_pool.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/sampling_options.h"
#include "runtime/chat.h"

namespace ringflash::cli {
namespace {

class ChatCommand final : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override { return validate(options_.sampling); }
  Status run(const CommonOptions& common) override;

 private:
  Status answer(Chat& chat, const std::string& line, bool json);

  std::string model_file_;
  std::optional<std::string> system_;
  int64_t context_ = 0;
  GenerateOptions options_;
  nlohmann::ordered_json turns_ = nlohmann::ordered_json::array();
};

void ChatCommand::add_options(CLI::App& app) {
  app.add_option("MODEL", model_file_, "GGUF file")->type_name("FILE")->required();
  app.add_option("--system", system_, "What the model is told before the conversation")->type_name("TEXT");
  options_.max_tokens = 1024;
  app.add_option("--max-tokens,-n", options_.max_tokens, "Most tokens of an answer")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
  add_sampling_options(app, options_.sampling);
  app.add_option("--context", context_, "Most tokens of the conversation; 0 is the model's limit")
      ->type_name("N")
      ->transform(whole_number())
      ->capture_default_str();
}

Status ChatCommand::answer(Chat& chat, const std::string& line, bool json) {
  Status written;
  RF_TRY(const GenerateReport report, chat.say(line, options_, [&](std::string_view piece) {
    if (!json) written = write_stdout(piece);
    return written.ok();
  }));
  RF_TRY_VOID(written);
  turns_.push_back(to_json(report));
  return json ? Status() : write_stdout("\n");
}

/// A line is a message or a command. At a terminal an error does not end the conversation.
Status ChatCommand::run(const CommonOptions& common) {
  RF_TRY(const Model model, Model::load(model_file_));
  ThreadPool pool(common.threads);
  RF_TRY(Chat chat, Chat::create(model, pool, context_, system_));
  const bool at_terminal = ::isatty(STDIN_FILENO) == 1;
  if (at_terminal) std::fputs("/reset starts anew, /exit ends.\n", stderr);
  for (std::string line;;) {
    if (at_terminal) std::fputs("> ", stderr);
    if (!std::getline(std::cin, line) || line == "/exit") break;
    if (line == "/reset") chat.reset();
    if (line.empty() || line == "/reset") continue;
    const Status answered = answer(chat, line, common.json);
    if (answered) continue;
    if (!at_terminal) return answered;
    print_error(answered.error().message);
  }
  if (!common.json) return {};
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  for (const auto& [role, content] : chat.messages())
    messages.push_back({{"role", role}, {"content", content}});
  return write_json({{"messages", std::move(messages)}, {"turns", std::move(turns_)}});
}

}  // namespace

std::unique_ptr<Command> make_chat_command() {
  return std::make_unique<ChatCommand>();
}

}  // namespace ringflash::cli
