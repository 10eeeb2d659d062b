#include "runtime/chat.h"

#include <ctime>

namespace ringflash {

Result<Chat> Chat::create(const Model& model, Executor& executor, int64_t context,
                          std::optional<std::string> system) {
  RF_TRY(ChatTemplate chat_template, ChatTemplate::of(model.tokenizer().vocabulary()));
  return Chat(model, executor, context, std::move(system), std::move(chat_template));
}

Chat::Chat(const Model& model, Executor& executor, int64_t context, std::optional<std::string> system,
           ChatTemplate chat_template)
    : model_(&model),
      executor_(&executor),
      context_(context),
      system_(std::move(system)),
      template_(std::move(chat_template)) {
  reset();
}

void Chat::reset() {
  messages_.clear();
  if (system_) messages_.push_back({"system", *system_});
  session_.reset();
  seen_.clear();
  unread_.clear();
}

/// What the session has to read before the answer. Sets `seen_` to all that is rendered.
Result<std::vector<int32_t>> Chat::next_prompt() {
  RF_TRY(std::string rendered,
         template_.render(messages_, {.add_generation_prompt = true, .now = std::time(nullptr)}));
  const Tokenizer& tokenizer = model_->tokenizer();
  std::vector<int32_t> prompt;
  if (session_ && rendered.starts_with(seen_)) {
    prompt = unread_;
    const std::vector<int32_t> more =
        tokenizer.encode(std::string_view(rendered).substr(seen_.size()), SpecialText::kParsed);
    prompt.insert(prompt.end(), more.begin(), more.end());
  } else {
    session_.emplace(*model_, *executor_, context_);
    prompt = tokenizer.encode_prompt(rendered);
  }
  seen_ = std::move(rendered);
  return prompt;
}

Result<GenerateReport> Chat::say(std::string_view text, const GenerateOptions& options,
                                 FunctionRef<bool(std::string_view text)> on_text) {
  messages_.push_back({"user", std::string(text)});
  const auto attempt = [&]() -> Result<GenerateReport> {
    RF_TRY(const std::vector<int32_t> prompt, next_prompt());
    std::string answer;
    RF_TRY(const GenerateReport report,
           generate_text(*session_, prompt, options, [&](std::string_view piece) {
             answer += piece;
             return on_text(piece);
           }));
    unread_.clear();
    if (report.unread) unread_.push_back(*report.unread);
    seen_ += answer;
    messages_.push_back({"assistant", std::move(answer)});
    return report;
  };
  Result<GenerateReport> report = attempt();
  if (!report) {
    messages_.pop_back();
    session_.reset();  // it may have read a part: the next turn starts it anew
  }
  return report;
}

}  // namespace ringflash
