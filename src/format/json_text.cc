#include "format/json_text.h"

#include <algorithm>
#include <set>
#include <vector>

#include "base/in_quotes.h"

namespace ringflash {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxShown = 200;

std::string cut(std::string text) {
  if (text.size() <= kMaxShown) return text;
  return text.substr(0, kMaxShown) + "...";
}

/// Looked at before parsing, so that a file of a million brackets costs nothing. Brackets in strings do not
/// count.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') ++i;
    if (c == '"') in_string = !in_string;
    if (in_string) continue;
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') --depth;
    if (depth > kMaxDepth) return true;
  }
  return false;
}

/// Follows the parser and remembers the first key that stands twice in one object.
struct DuplicateFinder {
  std::vector<std::set<std::string>> open_objects = {};
  std::string duplicate = {};
  bool found = false;

  bool operator()(int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event != json::parse_event_t::key) return true;
    const auto& key = parsed.get_ref<const std::string&>();
    if (!open_objects.back().insert(key).second && !found) {
      found = true;
      duplicate = key;
    }
    return true;
  }
};

/// "[json.exception.parse_error.101] parse error at line 1, ..." without its number.
std::string without_code(std::string what) {
  const size_t end = what.find("] ");
  return cut(end == std::string::npos ? std::move(what) : what.substr(end + 2));
}

}  // namespace

Result<json> parse_json(std::string_view text) {
  if (too_deep(text))
    return Error{"expected JSON of at most " + std::to_string(kMaxDepth) + " levels, found more"};
  try {
    DuplicateFinder finder;
    json parsed = json::parse(text.begin(), text.end(), std::ref(finder));
    if (finder.found) return Error{"expected each key once, found " + in_quotes(finder.duplicate) + " again"};
    return parsed;
  } catch (const json::exception& e) {
    return Error{"not valid JSON: " + without_code(e.what())};
  }
}

std::string show(const json& value) {
  return cut(value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace));
}

}  // namespace ringflash
