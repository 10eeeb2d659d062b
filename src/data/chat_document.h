// Conversations to learn from: {"messages": [{"role": ..., "content": ...}, ...]}.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace ringflash {

/// `json` is the list of messages: roles and contents are texts, and one message at least is the assistant's.
Result<std::vector<ChatMessage>> parse_messages(std::string_view json);

/// What is said in it, to train a tokenizer on; nothing where it is no list of messages.
std::string contents_of(std::string_view json);

struct ChatTokens {
  std::vector<int32_t> ids;
  std::vector<bool> learned;  ///< one per id: the assistant's words and the end of its turn
  std::string text;           ///< as rendered
};

/// The conversation up to the assistant's last message, as the template renders it, tokenised in the pieces
/// in which a model in use would see and say them. Errors: what the template refuses, or that it shows
/// earlier messages otherwise once others follow, so that the answers cannot be told from the rest.
Result<ChatTokens> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                               std::string_view json);

}  // namespace ringflash
