#include "text/chat_template.h"

#include <array>

#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace ringflash {
namespace {

using jinja::Dict;
using jinja::List;
using jinja::Value;

/// As transformers gives it to templates, but for the time, which the caller says.
Value strftime_now(std::time_t now) {
  return Value(
      jinja::Function([now](jinja::Interpreter&, const jinja::Arguments& arguments) -> Result<Value> {
        const Value* format = arguments.get(0, "format");
        if (format == nullptr || !format->string()) return Error{"strftime_now takes a format"};
        std::tm time{};
        ::gmtime_r(&now, &time);
        std::array<char, 256> text;
        const size_t size = std::strftime(text.data(), text.size(), format->string()->c_str(), &time);
        return Value(std::string(text.data(), size));
      }));
}

std::string piece_text(const Vocabulary& vocabulary, int32_t id) {
  return id < 0 ? "" : vocabulary.pieces[static_cast<size_t>(id)].text;
}

}  // namespace

const char* const kDefaultChatTemplate =
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

struct ChatTemplate::State {
  jinja::Body body;
  std::string bos, eos;
};

Result<ChatTemplate> ChatTemplate::create(std::string_view source) {
  auto state = std::make_unique<State>();
  Result<jinja::Body> body = jinja::parse(source);
  if (!body) return body.error().in("chat template");
  state->body = std::move(body).value();
  return ChatTemplate(std::move(state));
}

Result<ChatTemplate> ChatTemplate::of(const Vocabulary& vocabulary) {
  const bool own = !vocabulary.chat_template.empty();
  RF_TRY(ChatTemplate result,
         create(own ? std::string_view(vocabulary.chat_template) : kDefaultChatTemplate));
  result.state_->bos = piece_text(vocabulary, vocabulary.bos_id);
  result.state_->eos = piece_text(vocabulary, vocabulary.eos_id);
  return result;
}

ChatTemplate::ChatTemplate(std::unique_ptr<State> state) : state_(std::move(state)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                         const Options& options) const {
  List list;
  for (const ChatMessage& message : messages) {
    Dict dict;
    dict.set("role", Value(message.role));
    dict.set("content", Value(message.content));
    list.emplace_back(std::move(dict));
  }
  Dict globals;
  globals.set("messages", Value(std::move(list)));
  globals.set("add_generation_prompt", Value(options.add_generation_prompt));
  globals.set("bos_token", Value(state_->bos));
  globals.set("eos_token", Value(state_->eos));
  globals.set("strftime_now", strftime_now(options.now));
  jinja::Interpreter interpreter;
  Result<std::string> text = interpreter.run(state_->body, std::move(globals));
  if (!text) return text.error().in("chat template");
  return text;
}

}  // namespace ringflash
