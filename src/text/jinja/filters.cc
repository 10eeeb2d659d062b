// The filters and tests.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/in_quotes.h"
#include "text/jinja/builtins.h"

namespace ringflash::jinja {
namespace {

char upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

Error wants(const char* what, const Value& found) {
  return Error{std::string("expected ") + what + ", found " + found.type_name()};
}

using Filter = Result<Value> (*)(Interpreter&, const Value&, const Arguments&);

/// Changes the case of ASCII's letters, the only ones that names of roles and tools have.
Result<Value> to_upper(Interpreter&, const Value& value, const Arguments&) {
  std::string text = to_text(value);
  std::transform(text.begin(), text.end(), text.begin(), upper);
  return Value(std::move(text));
}
Result<Value> to_lower(Interpreter&, const Value& value, const Arguments&) {
  std::string text = to_text(value);
  std::transform(text.begin(), text.end(), text.begin(), lower);
  return Value(std::move(text));
}
Result<Value> capitalize(Interpreter&, const Value& value, const Arguments&) {
  std::string text = to_text(value);
  std::transform(text.begin(), text.end(), text.begin(), lower);
  if (!text.empty()) text[0] = upper(text[0]);
  return Value(std::move(text));
}
Result<Value> title(Interpreter&, const Value& value, const Arguments&) {
  std::string text = to_text(value);
  constexpr std::string_view kBeforeWords = " \t\n\r\f\v-({[<";
  for (size_t i = 0; i < text.size(); ++i) {
    const bool begins = i == 0 || kBeforeWords.find(text[i - 1]) != kBeforeWords.npos;
    text[i] = begins ? upper(text[i]) : lower(text[i]);
  }
  return Value(std::move(text));
}

Result<Value> trim(Interpreter&, const Value& value, const Arguments& arguments) {
  const Value* characters = arguments.get(0, "chars");
  return Value(stripped(to_text(value), "lr", characters != nullptr ? characters->string() : nullptr));
}

Result<Value> replace(Interpreter& run, const Value& value, const Arguments& arguments) {
  const Value *from = arguments.get(0, "old"), *to = arguments.get(1, "new");
  if (from == nullptr || to == nullptr || !from->string() || !to->string() || from->string()->empty()) {
    return Error{"replace takes two texts"};
  }
  const std::string text = to_text(value);
  std::string out;
  size_t begin = 0;
  for (size_t at; (at = text.find(*from->string(), begin)) != text.npos;
       begin = at + from->string()->size()) {
    out.append(text, begin, at - begin).append(*to->string());
    RF_TRY_VOID(run.spend(at - begin + to->string()->size()));
  }
  out.append(text, begin);
  return Value(std::move(out));
}

Result<Value> length(Interpreter&, const Value& value, const Arguments&) {
  if (value.dict()) return Value(std::ssize(value.dict()->entries));
  if (value.is_number() || value.is_none()) return wants("a list or text", value);
  RF_TRY(const List items, items_of(value));
  return Value(std::ssize(items));
}

/// A member of an item, by a name like "function.name".
Value member(Value item, const std::string& path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string name = path.substr(begin, end - begin);
    const Value* found = item.dict() ? item.dict()->find(name) : nullptr;
    item = found != nullptr ? Value(*found) : Value(Undefined{name});
    begin = end + 1;
  }
  return item;
}

Result<Value> join(Interpreter& run, const Value& value, const Arguments& arguments) {
  const Value *separator = arguments.get(0, "d"), *attribute = arguments.get(1, "attribute");
  RF_TRY(const List items, items_of(value));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string part = to_text(attribute != nullptr ? member(items[i], to_text(*attribute)) : items[i]);
    const std::string before = i > 0 && separator != nullptr ? to_text(*separator) : "";
    RF_TRY_VOID(run.spend(before.size() + part.size()));
    text += before + part;
  }
  return Value(std::move(text));
}

Result<Value> otherwise(Interpreter&, const Value& value, const Arguments& arguments) {
  const Value *fallback = arguments.get(0, "default_value"), *for_false = arguments.get(1, "boolean");
  const bool missing =
      value.is_undefined() || (for_false != nullptr && for_false->truthy() && !value.truthy());
  if (!missing) return value;
  return fallback != nullptr ? *fallback : Value("");
}

Result<Value> first(Interpreter&, const Value& value, const Arguments&) {
  RF_TRY(const List items, items_of(value));
  return items.empty() ? Value(Undefined{"the first of no items"}) : items.front();
}
Result<Value> last(Interpreter&, const Value& value, const Arguments&) {
  RF_TRY(const List items, items_of(value));
  return items.empty() ? Value(Undefined{"the last of no items"}) : items.back();
}
Result<Value> list(Interpreter&, const Value& value, const Arguments&) {
  RF_TRY(List items, items_of(value));
  return Value(std::move(items));
}
Result<Value> reverse(Interpreter&, const Value& value, const Arguments&) {
  RF_TRY(List items, items_of(value));
  std::reverse(items.begin(), items.end());
  if (!value.string()) return Value(std::move(items));
  std::string text;
  for (const Value& item : items) text += *item.string();
  return Value(std::move(text));
}
Result<Value> unique(Interpreter&, const Value& value, const Arguments&) {
  RF_TRY(const List items, items_of(value));
  List kept;
  std::map<std::string, bool> seen;
  for (const Value& item : items) {
    if (seen.emplace(item.type_name() + to_text(item), true).second) kept.push_back(item);
  }
  return Value(std::move(kept));
}

Result<Value> text_of(Interpreter&, const Value& value, const Arguments&) {
  return Value(to_text(value));
}

/// What the text says, or the default where it is no number.
Result<Value> to_int(Interpreter&, const Value& value, const Arguments& arguments) {
  const Value* fallback = arguments.get(0, "default");
  if (value.is_float() && std::abs(value.number()) < 9e18) return Value(static_cast<int64_t>(value.number()));
  if (value.is_number() && !value.is_float()) return Value(value.integer());
  const std::string text = stripped(to_text(value), "lr", nullptr);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return Value(number);
  return fallback != nullptr ? *fallback : Value(int64_t{0});
}
Result<Value> to_float(Interpreter&, const Value& value, const Arguments& arguments) {
  const Value* fallback = arguments.get(0, "default");
  if (value.is_number()) return Value(value.number());
  const std::string text = stripped(to_text(value), "lr", nullptr);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return Value(number);
  return fallback != nullptr ? *fallback : Value(0.0);
}
Result<Value> absolute(Interpreter& run, const Value& value, const Arguments&) {
  if (!value.is_number()) return wants("a number", value);
  return value.number() < 0 ? apply_operator(run, "-", Value(int64_t{0}), value) : Result<Value>(value);
}

Result<Value> tojson(Interpreter& run, const Value& value, const Arguments& arguments) {
  const Value* indent = arguments.get(0, "indent");
  const int64_t spaces =
      indent != nullptr && indent->is_int() ? std::clamp<int64_t>(indent->integer(), 0, 64) : -1;
  RF_TRY(std::string text, to_json(value, spaces));
  RF_TRY_VOID(run.spend(text.size()));
  return Value(std::move(text));
}

Result<Value> items(Interpreter&, const Value& value, const Arguments&) {
  List pairs;
  if (value.is_undefined()) return Value(std::move(pairs));
  if (!value.dict()) return wants("a dict", value);
  for (const auto& [key, each] : value.dict()->entries) pairs.emplace_back(List{Value(key), each});
  return Value(std::move(pairs));
}
Result<Value> dictsort(Interpreter& run, const Value& value, const Arguments& arguments) {
  RF_TRY(const Value pairs, items(run, value, arguments));
  std::stable_sort(pairs.list()->begin(), pairs.list()->end(), [](const Value& a, const Value& b) {
    return *a.list()->front().string() < *b.list()->front().string();
  });
  return pairs;
}

Result<Value> indent(Interpreter& run, const Value& value, const Arguments& arguments) {
  const Value *width = arguments.get(0, "width"), *at_first = arguments.get(1, "first");
  const int64_t spaces =
      width != nullptr && width->is_int() ? std::clamp<int64_t>(width->integer(), 0, 1000) : 4;
  const std::string margin(static_cast<size_t>(spaces), ' '), text = to_text(value);
  std::string out = at_first != nullptr && at_first->truthy() ? margin : "";
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    const bool blank = i + 1 == text.size() || text[i + 1] == '\n';
    if (text[i] != '\n' || blank) continue;
    out += margin;
    RF_TRY_VOID(run.spend(margin.size()));
  }
  return Value(std::move(out));
}

/// The arguments from `from` on.
Arguments rest_of(const Arguments& arguments, size_t from) {
  Arguments rest;
  for (size_t i = from; i < arguments.positional.size(); ++i)
    rest.positional.push_back(arguments.positional[i]);
  return rest;
}

Result<Value> map(Interpreter& run, const Value& value, const Arguments& arguments) {
  RF_TRY(List all, items_of(value));
  const Value *attribute = arguments.get(~size_t{0}, "attribute"),
              *fallback = arguments.get(~size_t{0}, "default");
  const Value* filter = arguments.get(0, "filter");
  if (attribute == nullptr && (filter == nullptr || !filter->string()))
    return Error{"map takes a filter or attribute"};
  for (Value& item : all) {
    if (attribute == nullptr) {
      RF_TRY(item, apply_filter(run, *filter->string(), item, rest_of(arguments, 1)));
      continue;
    }
    item = member(item, to_text(*attribute));
    if (item.is_undefined() && fallback != nullptr) item = *fallback;
  }
  return Value(std::move(all));
}

/// select and reject: by a test of the item; selectattr and rejectattr: of its attribute.
Result<Value> pick(const Value& value, const Arguments& arguments, bool by_attribute, bool wanted) {
  RF_TRY(const List all, items_of(value));
  const size_t test_place = by_attribute ? 1 : 0;
  const Value *attribute = arguments.get(0, "attribute"), *test = arguments.get(test_place, "test");
  if (by_attribute && attribute == nullptr) return Error{"an attribute's name is missing"};
  const Arguments rest = rest_of(arguments, test_place + 1);
  List kept;
  for (const Value& item : all) {
    const Value tested = by_attribute ? member(item, to_text(*attribute)) : item;
    bool holds = tested.truthy();
    if (test != nullptr) {
      RF_TRY(holds, apply_test(to_text(*test), tested, rest));
    }
    if (holds == wanted) kept.push_back(item);
  }
  return Value(std::move(kept));
}

const std::map<std::string, Filter, std::less<>>& filter_table() {
  static const std::map<std::string, Filter, std::less<>> table = {
      {"upper", to_upper},
      {"lower", to_lower},
      {"capitalize", capitalize},
      {"title", title},
      {"trim", trim},
      {"replace", replace},
      {"length", length},
      {"count", length},
      {"join", join},
      {"default", otherwise},
      {"d", otherwise},
      {"first", first},
      {"last", last},
      {"list", list},
      {"reverse", reverse},
      {"unique", unique},
      {"string", text_of},
      {"safe", text_of},
      {"int", to_int},
      {"float", to_float},
      {"abs", absolute},
      {"tojson", tojson},
      {"items", items},
      {"dictsort", dictsort},
      {"indent", indent},
      {"map", map},
      {"select", [](Interpreter&, const Value& v, const Arguments& a) { return pick(v, a, false, true); }},
      {"reject", [](Interpreter&, const Value& v, const Arguments& a) { return pick(v, a, false, false); }},
      {"selectattr", [](Interpreter&, const Value& v, const Arguments& a) { return pick(v, a, true, true); }},
      {"rejectattr",
       [](Interpreter&, const Value& v, const Arguments& a) { return pick(v, a, true, false); }},
  };
  return table;
}

using Test = bool (*)(const Value&);

const std::map<std::string, Test, std::less<>>& test_table() {
  static const std::map<std::string, Test, std::less<>> table = {
      {"defined", [](const Value& v) { return !v.is_undefined(); }},
      {"undefined", [](const Value& v) { return v.is_undefined(); }},
      {"none", [](const Value& v) { return v.is_none(); }},
      {"string", [](const Value& v) { return v.string() != nullptr; }},
      {"mapping", [](const Value& v) { return v.dict() != nullptr; }},
      {"sequence", [](const Value& v) { return v.list() || v.string() || v.dict(); }},
      {"iterable", [](const Value& v) { return v.list() || v.string() || v.dict() || v.is_undefined(); }},
      {"number", [](const Value& v) { return v.is_number(); }},
      {"integer", [](const Value& v) { return v.is_int(); }},
      {"float", [](const Value& v) { return v.is_float(); }},
      {"boolean", [](const Value& v) { return v.is_bool(); }},
      {"true", [](const Value& v) { return v.is_bool() && v.truthy(); }},
      {"false", [](const Value& v) { return v.is_bool() && !v.truthy(); }},
      {"callable", [](const Value& v) { return v.function() != nullptr; }},
      {"odd", [](const Value& v) { return v.integer() % 2 != 0; }},
      {"even", [](const Value& v) { return v.integer() % 2 == 0; }},
  };
  return table;
}

}  // namespace

Result<Value> apply_filter(Interpreter& run, const std::string& name, const Value& value,
                           const Arguments& arguments) {
  const auto found = filter_table().find(name);
  if (found == filter_table().end()) return Error{"the filter " + in_quotes(name) + " is not supported"};
  return found->second(run, value, arguments);
}

Result<bool> apply_test(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto found = test_table().find(name);
  if (found != test_table().end()) return found->second(value);
  static const std::map<std::string, std::string_view, std::less<>> kOperators = {
      {"in", "in"}, {"eq", "=="},      {"equalto", "=="}, {"==", "=="},         {"ne", "!="}, {"lt", "<"},
      {"le", "<="}, {"lessthan", "<"}, {"gt", ">"},       {"greaterthan", ">"}, {"ge", ">="}};
  const auto op = kOperators.find(name);
  const Value* other = arguments.get(0, "other");
  if (name == "divisibleby" && other != nullptr && other->integer() > 0)
    return value.integer() % other->integer() == 0;
  if (op != kOperators.end() && other != nullptr) return compare(op->second, value, *other);
  return Error{"the test " + in_quotes(name) + " is not supported"};
}

}  // namespace ringflash::jinja
