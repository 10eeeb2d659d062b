// A conversation with a model, whose cache is kept from turn to turn.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/generate.h"
#include "text/chat_template.h"

namespace ringflash {

class Chat {
 public:
  /// `model` and `executor` must outlive it. `context` as Session has it; `system` is the first message, if
  /// there is one. Errors: a chat template that is not understood.
  static Result<Chat> create(const Model& model, Executor& executor, int64_t context,
                             std::optional<std::string> system);

  /// Adds the user's message, then the model's answer, of which `on_text` gets the pieces as generate_text()
  /// gives them. Of the rendered conversation only what is new is read, unless the template shows earlier
  /// turns otherwise now. On an error (the template refuses, the context is full) the conversation is as
  /// before.
  Result<GenerateReport> say(std::string_view text, const GenerateOptions& options,
                             FunctionRef<bool(std::string_view text)> on_text);

  /// Back to the system message alone.
  void reset();

  const std::vector<ChatMessage>& messages() const { return messages_; }

 private:
  Chat(const Model& model, Executor& executor, int64_t context, std::optional<std::string> system,
       ChatTemplate chat_template);
  Result<std::vector<int32_t>> next_prompt();

  const Model* model_;
  Executor* executor_;
  int64_t context_;
  std::optional<std::string> system_;
  ChatTemplate template_;
  std::vector<ChatMessage> messages_;
  std::optional<Session> session_;  // none until something is read
  std::string seen_;                // the rendered text that the session and `unread_` have together
  std::vector<int32_t> unread_;     // ids of `seen_` that the session has not read
};

}  // namespace ringflash
