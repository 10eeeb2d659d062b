#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/in_quotes.h"
#include "text/utf8.h"

namespace ringflash::jinja {
namespace {

constexpr std::array<std::string_view, 26> kOperators = {"**", "//", "==", "!=", "<=", ">=", "+", "-", "*",
                                                         "/",  "%",  "~",  "<",  ">",  "=",  "(", ")", "[",
                                                         "]",  "{",  "}",  ",",  ":",  ".",  "|", ";"};
constexpr std::string_view kWhitespace = " \t\n\r\f\v";

bool is_space(char c) {
  return kWhitespace.find(c) != kWhitespace.npos;
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

std::string normalize_newlines(std::string_view source) {
  std::string out;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n') continue;
    out += source[i] == '\r' ? '\n' : source[i];
  }
  if (out.ends_with('\n')) out.pop_back();  // keep_trailing_newline is off
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const size_t tag = find_tag();
      take_text(tag);
      if (tag == source_.npos) break;
      RF_TRY_VOID(source_[tag + 1] == '#' ? skip_comment() : read_tag());
    }
    push(Token::Kind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  /// The next "{{", "{%" or "{#".
  size_t find_tag() const {
    for (size_t i = source_.find('{', at_); i != source_.npos; i = source_.find('{', i + 1)) {
      if (i + 1 < source_.size() && (source_[i + 1] == '{' || source_[i + 1] == '%' || source_[i + 1] == '#'))
        return i;
    }
    return source_.npos;
  }

  char peek(size_t offset = 0) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }
  bool next_is(std::string_view text) const {
    return std::string_view(source_).substr(at_).starts_with(text);
  }

  void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void advance(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + count), '\n'));
    at_ += count;
  }

  Error error(const std::string& what) const { return Error{"line " + std::to_string(line_) + ": " + what}; }

  /// The text up to a tag, without what the tags on both sides trim.
  void take_text(size_t tag) {
    const size_t end = std::min(tag, source_.size());
    std::string text = source_.substr(at_, end - at_);
    if (strips_next_) text.erase(0, std::min(text.find_first_not_of(kWhitespace), text.size()));
    if (tag != source_.npos) trim_before(tag, text);
    if (!text.empty()) push(Token::Kind::kText, std::move(text));
    advance(end - at_);
  }

  void trim_before(size_t tag, std::string& text) const {
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') {
      text.erase(text.find_last_not_of(kWhitespace) + 1);
    } else if (sign != '+' && source_[tag + 1] != '{') {
      const size_t line = text.rfind('\n') + 1;
      const bool blank = text.find_first_not_of(kWhitespace, line) == text.npos;
      if (blank && (line > 0 || at_line_start_)) text.erase(line);
    }
  }

  /// Behind a tag: "-" strips what follows; else a block or comment takes the newline with it.
  void close_tag(bool strips, bool keeps_newline) {
    strips_next_ = strips;
    at_line_start_ = false;
    if (strips || keeps_newline || peek() != '\n') return;
    advance(1);
    at_line_start_ = true;
  }

  Status skip_comment() {
    const size_t end = source_.find("#}", at_ + 2);
    if (end == source_.npos) return error("a comment without an end");
    const char sign = source_[end - 1];
    advance(end + 2 - at_);
    close_tag(sign == '-', sign == '+');
    return {};
  }

  Status read_tag() {
    const bool print = peek(1) == '{';
    advance(2);
    if (peek() == '-' || peek() == '+') advance(1);
    if (!print && is_raw()) return read_raw();
    push(print ? Token::Kind::kOpenPrint : Token::Kind::kOpenBlock, "");
    const std::string_view close = print ? "}}" : "%}";
    std::vector<char> open;  // brackets, within which no tag ends
    while (true) {
      while (is_space(peek())) advance(1);
      if (at_ >= source_.size()) return error("a tag without an end");
      const char sign = peek();
      const bool signed_close =
          (sign == '-' || sign == '+') && std::string_view(source_).substr(at_ + 1).starts_with(close);
      if (open.empty() && (next_is(close) || signed_close)) {
        push(Token::Kind::kClose, "");
        advance(signed_close ? 3 : 2);
        close_tag(signed_close && sign == '-', print || signed_close);
        return {};
      }
      RF_TRY_VOID(read_token(open));
    }
  }

  bool is_raw() const {
    size_t i = at_;
    while (i < source_.size() && is_space(source_[i])) ++i;
    if (source_.compare(i, 3, "raw") != 0) return false;
    i = source_.find_first_not_of(" \t\n-+", i + 3);
    return i != source_.npos && source_.compare(i, 2, "%}") == 0;
  }

  Status read_raw() {
    const size_t begin = source_.find("%}", at_) + 2;
    const bool strips = source_[begin - 3] == '-';
    advance(begin - at_);
    close_tag(strips, false);
    for (size_t tag = source_.find("{%", at_); tag != source_.npos; tag = source_.find("{%", tag + 1)) {
      const size_t word = source_.find_first_not_of(" \t\n-+", tag + 2);
      if (word == source_.npos || source_.compare(word, 6, "endraw") != 0) continue;
      const size_t end = source_.find("%}", word);
      if (end == source_.npos) break;
      take_text(tag);
      const char sign = source_[end - 1];
      advance(end + 2 - at_);
      close_tag(sign == '-', sign == '+');
      return {};
    }
    return error("raw without endraw");
  }

  Status read_token(std::vector<char>& open) {
    const char c = peek();
    if (c == '\'' || c == '"') return read_string(c);
    if (is_digit(c)) return read_number();
    if (is_letter(c)) {
      size_t size = 1;
      while (is_letter(peek(size)) || is_digit(peek(size))) ++size;
      push(Token::Kind::kName, source_.substr(at_, size));
      advance(size);
      return {};
    }
    for (const std::string_view op : kOperators) {
      if (!next_is(op)) continue;
      if (c == '(' || c == '[' || c == '{') open.push_back(c);
      if ((c == ')' || c == ']' || c == '}') && !open.empty()) open.pop_back();
      push(Token::Kind::kOperator, std::string(op));
      advance(op.size());
      return {};
    }
    return error("unexpected " + in_quotes(std::string(1, c)));
  }

  Status read_number() {
    size_t size = 1;
    while (is_digit(peek(size)) || peek(size) == '_') ++size;
    bool is_float = false;
    if (peek(size) == '.' && is_digit(peek(size + 1))) {
      is_float = true;
      ++size;
      while (is_digit(peek(size))) ++size;
    }
    const size_t sign = peek(size + 1) == '-' || peek(size + 1) == '+' ? 1 : 0;
    if ((peek(size) == 'e' || peek(size) == 'E') && is_digit(peek(size + 1 + sign))) {
      is_float = true;
      size += 1 + sign;
      while (is_digit(peek(size))) ++size;
    }
    std::string text = source_.substr(at_, size);
    std::erase(text, '_');
    push(is_float ? Token::Kind::kFloat : Token::Kind::kInteger, std::move(text));
    advance(size);
    return {};
  }

  Status read_string(char quote) {
    std::string text;
    size_t i = at_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] == '\\' && i + 1 < source_.size()) {
        i += unescape(i + 1, text) + 1;
      } else {
        text += source_[i++];
      }
    }
    if (i >= source_.size()) return error("a string without an end");
    push(Token::Kind::kString, std::move(text));
    advance(i + 1 - at_);
    return {};
  }

  /// The character code of `digits` hexadecimal digits, if they are there.
  std::optional<char32_t> hex(size_t begin, size_t digits) const {
    char32_t code = 0;
    for (size_t i = begin; i < begin + digits; ++i) {
      const char c = i < source_.size() ? static_cast<char>(source_[i] | 0x20) : '\0';
      const bool letter = c >= 'a' && c <= 'f';
      if (i >= source_.size() || (!letter && !is_digit(source_[i]))) return std::nullopt;
      code = code * 16 + static_cast<char32_t>(letter ? c - 'a' + 10 : source_[i] - '0');
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return std::nullopt;
    return code;
  }

  /// Appends what the escape sequence behind a backslash stands for, and returns its size.
  size_t unescape(size_t at, std::string& out) const {
    constexpr std::string_view kLetters = "ntrbfva\\'\"", kMeanings = "\n\t\r\b\f\v\a\\'\"";
    const char c = source_[at];
    if (const size_t i = kLetters.find(c); i != kLetters.npos) {
      out += kMeanings[i];
      return 1;
    }
    if (c == '\n') return 1;
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (const auto code = digits > 0 ? hex(at + 1, digits) : std::nullopt) {
      out += to_utf8(*code);
      return 1 + digits;
    }
    out += '\\';
    return 0;
  }

  const std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool strips_next_ = false, at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace ringflash::jinja
