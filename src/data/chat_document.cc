#include "data/chat_document.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace ringflash {
namespace {

constexpr const char* kAssistant = "assistant";

/// Appends a part of the rendered text. Of what the assistant says, all is learned up to the end of its turn,
/// but not what the template puts behind that.
void append(const Tokenizer& tokenizer, std::string_view part, bool answer, ChatTokens& out) {
  const std::vector<int32_t> ids =
      out.ids.empty() ? tokenizer.encode_prompt(part) : tokenizer.encode(part, SpecialText::kParsed);
  bool learned = answer;
  for (const int32_t id : ids) {
    out.ids.push_back(id);
    out.learned.push_back(learned);
    if (tokenizer.is_end(id)) learned = false;
  }
  out.text += part;
}

}  // namespace

Result<std::vector<ChatMessage>> parse_messages(std::string_view json) {
  const auto list = nlohmann::json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!list.is_array() || list.empty()) return Error{"expected a list of messages under \"messages\""};
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& entry : list) {
    const auto text = [&](const char* key) {
      const auto found = entry.is_object() ? entry.find(key) : entry.end();
      return entry.is_object() && found != entry.end() && found->is_string()
                 ? &found->get_ref<const std::string&>()
                 : nullptr;
    };
    const std::string *role = text("role"), *content = text("content");
    if (role == nullptr || content == nullptr) {
      return Error{"message " + std::to_string(messages.size()) +
                   ": expected an object with strings under \"role\" and \"content\""};
    }
    messages.push_back({*role, *content});
  }
  const auto answers = [](const ChatMessage& message) { return message.role == kAssistant; };
  if (std::none_of(messages.begin(), messages.end(), answers)) {
    return Error{"expected a message of the role \"assistant\", from which to learn, found none"};
  }
  return messages;
}

std::string contents_of(std::string_view json) {
  const Result<std::vector<ChatMessage>> messages = parse_messages(json);
  std::string text;
  if (!messages) return text;
  for (const ChatMessage& message : *messages) text += message.content + "\n";
  return text;
}

Result<ChatTokens> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat_template,
                               std::string_view json) {
  RF_TRY(const std::vector<ChatMessage> messages, parse_messages(json));
  ChatTokens out;
  std::vector<ChatMessage> so_far;
  for (const ChatMessage& message : messages) {
    if (message.role != kAssistant) {
      so_far.push_back(message);
      continue;
    }
    RF_TRY(const std::string before, chat_template.render(so_far, {.add_generation_prompt = true, .now = 0}));
    so_far.push_back(message);
    RF_TRY(const std::string after, chat_template.render(so_far, {.add_generation_prompt = false, .now = 0}));
    if (!before.starts_with(out.text) || !after.starts_with(before)) {
      return Error{"the chat template shows the messages before number " + std::to_string(so_far.size()) +
                   " otherwise once it follows, so that the assistant's words cannot be told apart"};
    }
    append(tokenizer, std::string_view(before).substr(out.text.size()), false, out);
    append(tokenizer, std::string_view(after).substr(before.size()), true, out);
  }
  return out;
}

}  // namespace ringflash
