// A model's chat template: messages in, the prompt it was trained to see out.
#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.h"

namespace ringflash {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant", ...
  std::string content;
};

class ChatTemplate {
 public:
  /// Jinja as transformers runs it; the error gives the line and what is not supported.
  static Result<ChatTemplate> create(std::string_view source);

  /// The vocabulary's own or, where it has none, one that ends every message with EOS. The vocabulary's BOS
  /// and EOS are what the template knows as bos_token and eos_token.
  static Result<ChatTemplate> of(const Vocabulary& vocabulary);

  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  struct Options {
    bool add_generation_prompt = true;  ///< ends where the assistant's answer begins
    std::time_t now = 0;                ///< what strftime_now() formats, as UTC
  };

  /// Special pieces stand in the text by their names: encode it with SpecialText::kParsed. Errors: what the
  /// template refuses (two messages of one role in turn, a role it does not know, ...) in its own words.
  Result<std::string> render(const std::vector<ChatMessage>& messages, const Options& options) const;

 private:
  struct State;
  explicit ChatTemplate(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// For vocabularies without a template.
extern const char* const kDefaultChatTemplate;

}  // namespace ringflash
