// Whether a page is well-formed: what a browser shows of it is then what was meant.
#pragma once

#include <cctype>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ringflash::testing {

/// Walks over a page once; the first mistake ends it.
class XmlChecker {
 public:
  explicit XmlChecker(std::string_view text) : rest_(text) {}

  std::string error() {
    if (!take("<!doctype html>\n")) return wrong("no doctype");
    do {
      const std::string mistake = rest_.starts_with("</") ? end_tag() : rest_.starts_with("<") ? start_tag() : text();
      if (!mistake.empty()) return mistake;
    } while (!open_.empty() && !rest_.empty());
    if (!open_.empty()) return "an element is left open: " + open_.back();
    return rest_ == "\n" ? "" : wrong("something after the end");
  }

 private:
  std::string wrong(const char* what) const { return std::string(what) + ": " + std::string(rest_.substr(0, 60)); }

  bool take(std::string_view expected) {
    if (!rest_.starts_with(expected)) return false;
    rest_.remove_prefix(expected.size());
    return true;
  }

  std::string take_name() {
    size_t size = 0;
    while (size < rest_.size() && (std::isalnum(static_cast<unsigned char>(rest_[size])) || rest_[size] == '-')) ++size;
    const std::string name(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return name;
  }

  std::string text() {
    if (rest_[0] == '&') {
      const size_t end = rest_.find(';');
      if (end == rest_.npos || end > 8) return wrong("bare &");
    }
    const bool control = static_cast<unsigned char>(rest_[0]) < ' ' && rest_[0] != '\n' && rest_[0] != '\t';
    if (control) return wrong("control character");
    rest_.remove_prefix(1);
    return "";
  }

  std::string end_tag() {
    take("</");
    if (open_.empty() || take_name() != open_.back() || !take(">")) return wrong("not the element's end");
    open_.pop_back();
    return "";
  }

  std::string start_tag() {
    take("<");
    open_.push_back(take_name());
    if (open_.back().empty()) return wrong("bare <");
    std::set<std::string> attributes;
    while (take(" ")) {
      const std::string name = take_name();
      if (name.empty() || !attributes.insert(name).second || !take("=\"")) return wrong("not an attribute");
      const size_t end = rest_.find('"');
      if (end == rest_.npos || rest_.substr(0, end).find('<') != rest_.npos) return wrong("not a value");
      rest_.remove_prefix(end + 1);
    }
    if (take("/>")) {
      open_.pop_back();
      return "";
    }
    return take(">") ? "" : wrong("not a tag's end");
  }

  std::string_view rest_;
  std::vector<std::string> open_;
};

/// Empty where tags nest and close, attributes are quoted and there once, and no bare < or & stands in text; else what is
/// wrong, with the text after it.
inline std::string xml_error(std::string_view text) {
  return XmlChecker(text).error();
}

}  // namespace ringflash::testing
