#include "text/jinja/value.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace ringflash::jinja {
namespace {

constexpr int kMaxDepth = 100;  // of nested lists and dicts; deeper ones could contain themselves

template <typename T, typename Data>
T* held(const Data& data) {
  const auto* pointer = std::get_if<std::shared_ptr<T>>(&data);
  return pointer == nullptr ? nullptr : pointer->get();
}

/// As Python writes it: the shortest form that reads back the same, always with a point or an exponent.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char text[40];
  const double size = std::abs(value);
  const auto format =
      size != 0 && (size >= 1e16 || size < 1e-4) ? std::chars_format::scientific : std::chars_format::fixed;
  const auto [end, error] = std::to_chars(text, text + sizeof text, value, format);
  RF_CHECK(error == std::errc());
  std::string out(text, end);
  return out.find_first_of(".e") == out.npos ? out + ".0" : out;
}

std::string quoted(const std::string& text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\\' || c == quote) {
      out += {'\\', c};
    } else {
      out += c;
    }
  }
  return out + quote;
}

std::string repr(const Value& value, int depth) {
  if (depth > kMaxDepth) return "...";
  if (const std::string* text = value.string()) return quoted(*text);
  std::string out;
  if (const List* list = value.list()) {
    for (const Value& item : *list) out += (out.empty() ? "" : ", ") + repr(item, depth + 1);
    return "[" + out + "]";
  }
  if (const Dict* dict = value.dict()) {
    for (const auto& [key, item] : dict->entries) {
      out += (out.empty() ? "" : ", ") + quoted(key) + ": " + repr(item, depth + 1);
    }
    return "{" + out + "}";
  }
  return to_text(value);
}

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) {
          out += c;
        } else {
          char escaped[8];
          std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned char>(c));
          out += escaped;
        }
    }
  }
  return out + "\"";
}

/// Writes JSON as json.dumps() lays it out.
class JsonWriter {
 public:
  explicit JsonWriter(int64_t indent) : indent_(indent) {}

  Status write(const Value& value, int depth) {
    if (depth > kMaxDepth) return Error{"tojson: nested too deeply"};
    if (const std::string* text = value.string()) {
      out_ += json_string(*text);
    } else if (const List* list = value.list()) {
      RF_TRY_VOID(
          write_all(*list, "[", "]", depth, [&](const Value& item) { return write(item, depth + 1); }));
    } else if (const Dict* dict = value.dict()) {
      RF_TRY_VOID(write_all(dict->entries, "{", "}", depth, [&](const auto& entry) {
        out_ += json_string(entry.first) + ": ";
        return write(entry.second, depth + 1);
      }));
    } else if (value.is_bool()) {
      out_ += value.truthy() ? "true" : "false";
    } else if (value.is_none()) {
      out_ += "null";
    } else if (value.is_number()) {
      out_ += to_text(value);
    } else {
      return Error{std::string("tojson: ") + value.type_name() + " is not JSON"};
    }
    return {};
  }

  std::string take() { return std::move(out_); }

 private:
  template <typename Items, typename Write>
  Status write_all(const Items& items, const char* open, const char* close, int depth,
                   const Write& write_item) {
    out_ += open;
    bool first = true;
    for (const auto& item : items) {
      if (!first) out_ += indent_ < 0 ? ", " : ",";
      first = false;
      new_line(depth + 1);
      RF_TRY_VOID(write_item(item));
    }
    if (!first) new_line(depth);
    out_ += close;
    return {};
  }

  void new_line(int depth) {
    if (indent_ >= 0) out_ += "\n" + std::string(static_cast<size_t>(indent_ * depth), ' ');
  }

  const int64_t indent_;
  std::string out_;
};

bool equal_within(const Value& a, const Value& b, int depth) {
  if (depth > kMaxDepth) return false;
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? a.number() == b.number() : a.integer() == b.integer();
  }
  if (a.string() && b.string()) return *a.string() == *b.string();
  if (a.list() && b.list()) {
    if (a.list()->size() != b.list()->size()) return false;
    for (size_t i = 0; i < a.list()->size(); ++i) {
      if (!equal_within((*a.list())[i], (*b.list())[i], depth + 1)) return false;
    }
    return true;
  }
  if (a.dict() && b.dict()) {
    if (a.dict()->entries.size() != b.dict()->entries.size()) return false;
    for (const auto& [key, value] : a.dict()->entries) {
      const Value* other = b.dict()->find(key);
      if (other == nullptr || !equal_within(value, *other, depth + 1)) return false;
    }
    return true;
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

}  // namespace

const Value* Dict::find(std::string_view key) const {
  for (const auto& [name, value] : entries) {
    if (name == key) return &value;
  }
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto& [name, old] : entries) {
    if (name != key) continue;
    old = std::move(value);
    return;
  }
  entries.emplace_back(key, std::move(value));
}

const Value* Arguments::get(size_t place, std::string_view name) const {
  if (place < positional.size()) return &positional[place];
  for (const auto& [given, value] : named) {
    if (given == name) return &value;
  }
  return nullptr;
}

const std::string* Value::string() const {
  return held<const std::string>(data_);
}
List* Value::list() const {
  return held<List>(data_);
}
Dict* Value::dict() const {
  return held<Dict>(data_);
}
const Function* Value::function() const {
  return held<const Function>(data_);
}

int64_t Value::integer() const {
  if (is_bool()) return std::get<bool>(data_);
  return is_int() ? std::get<int64_t>(data_) : 0;
}

double Value::number() const {
  return is_float() ? std::get<double>(data_) : static_cast<double>(integer());
}

bool Value::truthy() const {
  if (string()) return !string()->empty();
  if (list()) return !list()->empty();
  if (dict()) return dict()->is_namespace || !dict()->entries.empty();
  if (is_number()) return number() != 0;
  return function() != nullptr;
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined", "none", "bool", "int",     "float",
                                           "string",    "list", "dict", "function"};
  return kNames[data_.index()];
}

bool equal(const Value& a, const Value& b) {
  return equal_within(a, b, 0);
}

std::string to_text(const Value& value) {
  if (const std::string* text = value.string()) return *text;
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (value.is_bool()) return value.truthy() ? "True" : "False";
  if (value.is_int()) return std::to_string(value.integer());
  if (value.is_float()) return float_text(value.number());
  if (value.function()) return "<function>";
  return repr(value, 0);
}

Result<std::string> to_json(const Value& value, int64_t indent) {
  JsonWriter writer(indent);
  RF_TRY_VOID(writer.write(value, 0));
  return writer.take();
}

}  // namespace ringflash::jinja
