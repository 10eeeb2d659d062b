// Whether a page is well-formed: what a browser shows of it is then what was meant.
#pragma once

#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace ringflash::testing {

/// Empty where tags nest and close, attributes are quoted and named once, and no bare < or & stands in text; else what
/// is wrong, with the text after it. The doctype is passed over.
inline std::string xml_error(std::string_view text) {
  std::vector<std::string> open;
  const auto name_end = [](std::string_view t) {
    size_t i = 0;
    while (i < t.size() && (std::isalnum(static_cast<unsigned char>(t[i])) || t[i] == '-')) ++i;
    return i;
  };
  const auto wrong = [&](const char* what, std::string_view at) { return std::string(what) + ": " + std::string(at.substr(0, 60)); };
  constexpr std::string_view kDoctype = "<!doctype html>\n";
  if (!text.starts_with(kDoctype)) return wrong("no doctype", text);
  for (std::string_view rest = text.substr(kDoctype.size()); !rest.empty();) {
    if (rest[0] == '&') {
      const size_t end = rest.find(';');
      if (end == rest.npos || end > 8) return wrong("bare &", rest);
      rest.remove_prefix(end);
    } else if (rest[0] != '<') {
      if (static_cast<unsigned char>(rest[0]) < ' ' && rest[0] != '\n' && rest[0] != '\t') return wrong("control", rest);
      rest.remove_prefix(1);
    } else if (rest.starts_with("</")) {
      const size_t end = name_end(rest.substr(2));
      if (open.empty() || open.back() != rest.substr(2, end) || rest.substr(2 + end, 1) != ">") return wrong("end", rest);
      open.pop_back();
      rest.remove_prefix(end + 3);
      if (open.empty()) return rest == "\n" ? "" : wrong("after the end", rest);
    } else {
      const std::string_view tag = rest;
      rest.remove_prefix(1);
      const size_t end = name_end(rest);
      if (end == 0) return wrong("bare <", tag);
      open.emplace_back(rest.substr(0, end));
      rest.remove_prefix(end);
      std::string seen = " ";
      while (rest.starts_with(" ")) {
        rest.remove_prefix(1);
        const std::string name(rest.substr(0, name_end(rest)));
        rest.remove_prefix(name.size());
        if (name.empty() || seen.find(" " + name + " ") != seen.npos || !rest.starts_with("=\"")) return wrong("attribute", tag);
        seen += name + " ";
        const size_t close = rest.find('"', 2);
        if (close == rest.npos || rest.substr(0, close).find('<') != rest.npos) return wrong("value", tag);
        rest.remove_prefix(close + 1);
      }
      if (rest.starts_with("/>")) {
        open.pop_back();
        rest.remove_prefix(1);
      }
      if (!rest.starts_with(">")) return wrong("tag", tag);
      rest.remove_prefix(1);
    }
  }
  return "an element is left open";
}

}  // namespace ringflash::testing
