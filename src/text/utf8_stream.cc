#include "text/tokenizer.h"
#include "text/utf8.h"

namespace ringflash {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  pending_ += bytes;
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Utf8Char c = first_utf8_char(rest);
    if (c.kind == Utf8Char::Kind::kTruncated) break;
    out += c.kind == Utf8Char::Kind::kValid ? rest.substr(0, c.size) : kReplacement;
    rest.remove_prefix(c.size);
  }
  pending_ = std::string(rest);
  return out;
}

std::string Utf8Stream::finish() {
  const bool unfinished = !pending_.empty();
  pending_.clear();
  return unfinished ? std::string(kReplacement) : std::string();
}

}  // namespace ringflash
