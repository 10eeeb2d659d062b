#include "text/jinja/builtins.h"

#include <algorithm>
#include <cmath>

#include "base/in_quotes.h"
#include "text/utf8.h"

namespace ringflash::jinja {
namespace {

constexpr std::string_view kWhitespace = " \t\n\r\f\v";
constexpr int64_t kMaxRange = 1'000'000;

/// "None", else the text; errors name the caller.
Result<std::string> text_argument(const Arguments& arguments, size_t place, std::string_view name,
                                  const std::string& function) {
  const Value* value = arguments.get(place, name);
  if (value != nullptr && value->string()) return *value->string();
  return Error{function + ": expected a string as argument " + std::to_string(place + 1) + ", found " +
               (value == nullptr ? "nothing" : value->type_name())};
}

Result<Value> range(Interpreter& run, const Arguments& arguments) {
  int64_t bounds[3] = {0, 0, 1};
  const size_t count = arguments.positional.size();
  if (count < 1 || count > 3) return Error{"range takes 1 to 3 numbers"};
  for (size_t i = 0; i < count; ++i) {
    if (!arguments.positional[i].is_int()) return Error{"range takes 1 to 3 numbers"};
    bounds[count == 1 ? 1 : i] = arguments.positional[i].integer();
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) return Error{"range: the step is 0"};
  List items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    items.emplace_back(i);
    if (std::ssize(items) > kMaxRange) return Error{"range: more than a million numbers"};
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  RF_TRY_VOID(run.spend(items.size() * sizeof(Value)));
  return Value(std::move(items));
}

Dict named_variables(const Arguments& arguments) {
  Dict dict;
  for (const Value& value : arguments.positional) {
    if (const Dict* from = value.dict()) dict.entries = from->entries;
  }
  for (const auto& [name, value] : arguments.named) dict.set(name, value);
  return dict;
}

/// Splits at white space, or at a separator; at most `limit` times, if that is not negative.
Result<Value> split(const std::string& text, const Arguments& arguments) {
  const Value* separator = arguments.get(0, "sep");
  const Value* most = arguments.get(1, "maxsplit");
  int64_t left = most != nullptr ? most->integer() : -1;
  List parts;
  size_t begin = 0;
  if (separator == nullptr || separator->is_none()) {
    while ((begin = text.find_first_not_of(kWhitespace, begin)) != text.npos) {
      const size_t end =
          left-- == 0 ? text.size() : std::min(text.find_first_of(kWhitespace, begin), text.size());
      parts.emplace_back(text.substr(begin, end - begin));
      begin = end;
    }
    return Value(std::move(parts));
  }
  if (separator->string() == nullptr || separator->string()->empty())
    return Error{"split: the separator must be a text"};
  for (size_t end; left-- != 0 && (end = text.find(*separator->string(), begin)) != text.npos;) {
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + separator->string()->size();
  }
  parts.emplace_back(text.substr(begin));
  return Value(std::move(parts));
}

Result<Value> string_method(Interpreter& run, const Value& object, const std::string& name,
                            const Arguments& arguments) {
  const std::string& text = *object.string();
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Value* characters = arguments.get(0, "chars");
    const std::string_view sides = name == "strip" ? "lr" : name == "lstrip" ? "l" : "r";
    return Value(stripped(text, sides, characters != nullptr ? characters->string() : nullptr));
  }
  if (name == "split") {
    RF_TRY_VOID(run.spend(text.size() * 8));
    return split(text, arguments);
  }
  if (name == "startswith" || name == "endswith") {
    RF_TRY(const std::string part, text_argument(arguments, 0, "prefix", name));
    return Value(name == "startswith" ? text.starts_with(part) : text.ends_with(part));
  }
  if (name == "find") {
    RF_TRY(const std::string part, text_argument(arguments, 0, "sub", name));
    const size_t at = text.find(part);
    return Value(at == text.npos ? int64_t{-1} : std::ssize(characters_of(text.substr(0, at))));
  }
  if (name == "count") {
    RF_TRY(const std::string part, text_argument(arguments, 0, "sub", name));
    int64_t count = 0;
    for (size_t at = 0; !part.empty() && (at = text.find(part, at)) != text.npos; at += part.size()) ++count;
    return Value(count);
  }
  if (name == "join") {
    Arguments separator;
    separator.positional = {object};
    const Value* list = arguments.get(0, "iterable");
    return apply_filter(run, "join", list != nullptr ? *list : Value(), separator);
  }
  for (const char* filter : {"upper", "lower", "title", "capitalize", "replace"}) {
    if (name == filter) return apply_filter(run, name, object, arguments);
  }
  return Error{"strings have no method " + in_quotes(name)};
}

Result<Value> dict_method(Interpreter& run, const Value& object, const std::string& name,
                          const Arguments& arguments) {
  const Dict& dict = *object.dict();
  if (name == "items") return apply_filter(run, name, object, arguments);
  if (name == "keys" || name == "values") {
    List list;
    for (const auto& [key, value] : dict.entries) list.push_back(name == "keys" ? Value(key) : value);
    return Value(std::move(list));
  }
  if (name == "get") {
    RF_TRY(const std::string key, text_argument(arguments, 0, "key", name));
    if (const Value* found = dict.find(key)) return *found;
    const Value* otherwise = arguments.get(1, "default");
    return otherwise != nullptr ? *otherwise : Value();
  }
  return undefined_error(Value(Undefined{name}));
}

Result<Value> repeated(Interpreter& run, const Value& value, int64_t times) {
  const size_t count = times > 0 ? static_cast<size_t>(times) : 0;
  const size_t size = value.string() ? value.string()->size() : value.list()->size() * sizeof(Value);
  size_t bytes = 0;
  if (__builtin_mul_overflow(size, count, &bytes)) return Error{"the template makes too much text"};
  RF_TRY_VOID(run.spend(bytes));
  std::string text;
  List list;
  for (size_t i = 0; bytes > 0 && i < count; ++i) {
    if (value.string()) text += *value.string();
    if (value.list()) list.insert(list.end(), value.list()->begin(), value.list()->end());
  }
  return value.string() ? Value(std::move(text)) : Value(std::move(list));
}

Error bad_operands(std::string_view op, const Value& a, const Value& b) {
  return Error{"'" + std::string(op) + "' does not take " + a.type_name() + " and " + b.type_name()};
}

Result<Value> add(Interpreter& run, const Value& a, const Value& b) {
  if (a.string() && b.string()) {
    RF_TRY_VOID(run.spend(a.string()->size() + b.string()->size()));
    return Value(*a.string() + *b.string());
  }
  if (a.list() && b.list()) {
    List both = *a.list();
    both.insert(both.end(), b.list()->begin(), b.list()->end());
    RF_TRY_VOID(run.spend(both.size() * sizeof(Value)));
    return Value(std::move(both));
  }
  return bad_operands("+", a, b);
}

/// Python's division: rounded down, the remainder with the divisor's sign.
Result<Value> divided(std::string_view op, int64_t a, int64_t b) {
  if (b == 0) return Error{"division by zero"};
  if (b == -1)
    return op == "%" ? Value(int64_t{0}) : Value(static_cast<int64_t>(0 - static_cast<uint64_t>(a)));
  const int64_t remainder = a % b;
  const bool down = remainder != 0 && (remainder < 0) != (b < 0);
  if (op == "%") return Value(down ? remainder + b : remainder);
  return Value(a / b - (down ? 1 : 0));
}

Result<Value> power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (int64_t i = 0; i < exponent && result != 0 && (i == 0 || base != 1); ++i) {
    if (base == -1 && i > 1) return Value(exponent % 2 == 0 ? int64_t{1} : int64_t{-1});
    if (__builtin_mul_overflow(result, base, &result)) return Error{"a number too large"};
  }
  return Value(result);
}

Result<Value> integer_result(std::string_view op, int64_t a, int64_t b) {
  if (op == "**") return power(a, b);
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else {
    return divided(op, a, b);
  }
  if (overflow) return Error{"a number too large"};
  return Value(result);
}

Result<Value> float_result(std::string_view op, double a, double b) {
  if (op == "+") return Value(a + b);
  if (op == "-") return Value(a - b);
  if (op == "*") return Value(a * b);
  if (op == "**") return Value(std::pow(a, b));
  if (b == 0) return Error{"division by zero"};
  if (op == "/") return Value(a / b);
  const double quotient = std::floor(a / b);
  return op == "//" ? Value(quotient) : Value(a - quotient * b);
}

Result<bool> contains(const Value& container, const Value& item) {
  if (container.string()) {
    if (!item.string()) return bad_operands("in", item, container);
    return container.string()->find(*item.string()) != std::string::npos;
  }
  if (container.dict()) return item.string() && container.dict()->find(*item.string()) != nullptr;
  if (container.is_undefined()) return false;
  if (!container.list()) return bad_operands("in", item, container);
  const List& list = *container.list();
  return std::any_of(list.begin(), list.end(), [&](const Value& each) { return equal(each, item); });
}

/// Below 0, 0 or above.
Result<int> ordered(std::string_view op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.number() < b.number() ? -1 : a.number() > b.number();
  if (a.string() && b.string()) return a.string()->compare(*b.string());
  return bad_operands(op, a, b);
}

/// The places of a Python slice, in its order.
std::vector<size_t> slice_places(size_t size, const Value (&bounds)[3], int64_t step) {
  const auto length = static_cast<int64_t>(size);
  const int64_t least = step > 0 ? 0 : -1, most = step > 0 ? length : length - 1;
  const auto bound = [&](const Value& value, int64_t otherwise) {
    if (value.is_none()) return otherwise;
    const int64_t given = value.integer();
    return std::clamp(given < 0 ? given + length : given, least, most);
  };
  std::vector<size_t> places;
  const int64_t stop = bound(bounds[1], step > 0 ? most : least);
  for (int64_t i = bound(bounds[0], step > 0 ? least : most); step > 0 ? i < stop : i > stop; i += step) {
    places.push_back(static_cast<size_t>(i));
  }
  return places;
}

}  // namespace

Error undefined_error(const Value& value) {
  return Error{in_quotes(value.undefined()->name) + " is undefined"};
}

std::string stripped(const std::string& text, std::string_view sides, const std::string* characters) {
  const std::string_view set = characters != nullptr ? *characters : kWhitespace;
  std::string_view rest = text;
  if (sides.find('l') != sides.npos) rest.remove_prefix(std::min(rest.find_first_not_of(set), rest.size()));
  if (sides.find('r') != sides.npos) rest = rest.substr(0, rest.find_last_not_of(set) + 1);
  return std::string(rest);
}

List characters_of(const std::string& text) {
  List characters;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t size = first_utf8_char(rest).size;
    characters.emplace_back(std::string(rest.substr(0, size)));
    rest.remove_prefix(size);
  }
  return characters;
}

Result<List> items_of(const Value& value) {
  if (value.list()) return *value.list();
  if (value.is_undefined()) return List();
  if (value.string()) return characters_of(*value.string());
  if (value.dict() == nullptr) return Error{std::string("a loop cannot go over ") + value.type_name()};
  List keys;
  for (const auto& [key, unused] : value.dict()->entries) keys.emplace_back(key);
  return keys;
}

Result<Value> call_method(Interpreter& run, const Value& object, const std::string& name,
                          const Arguments& arguments) {
  if (object.string()) return string_method(run, object, name, arguments);
  if (object.dict()) return dict_method(run, object, name, arguments);
  return Error{std::string("a ") + object.type_name() + " has no method " + in_quotes(name)};
}

Dict builtin_functions() {
  Dict functions;
  functions.set("range", Value(Function(range)));
  functions.set("namespace",
                Value(Function([](Interpreter& run, const Arguments& arguments) -> Result<Value> {
                  return run.make_namespace(named_variables(arguments));
                })));
  functions.set("dict", Value(Function([](Interpreter&, const Arguments& arguments) -> Result<Value> {
                  return Value(named_variables(arguments));
                })));
  functions.set("raise_exception",
                Value(Function([](Interpreter&, const Arguments& arguments) -> Result<Value> {
                  const Value* message = arguments.get(0, "message");
                  return Error{message != nullptr ? to_text(*message) : "the template refuses"};
                })));
  return functions;
}

Result<Value> apply_operator(Interpreter& run, std::string_view op, const Value& a, const Value& b) {
  if (op == "~") {
    const std::string left = to_text(a), right = to_text(b);
    return add(run, Value(left), Value(right));
  }
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) return undefined_error(*value);
  }
  if (a.is_number() && b.is_number()) {
    const bool integers = !a.is_float() && !b.is_float();
    const bool whole = integers && op != "/" && !(op == "**" && b.integer() < 0);
    return whole ? integer_result(op, a.integer(), b.integer()) : float_result(op, a.number(), b.number());
  }
  if (op == "*" && (a.string() || a.list()) && b.is_int()) return repeated(run, a, b.integer());
  if (op == "+") return add(run, a, b);
  return bad_operands(op, a, b);
}

Result<bool> compare(std::string_view op, const Value& a, const Value& b) {
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in") return contains(b, a);
  if (op == "not in") {
    RF_TRY(const bool inside, contains(b, a));
    return !inside;
  }
  RF_TRY(const int order, ordered(op, a, b));
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  return op == ">" ? order > 0 : order >= 0;
}

Result<Value> item_of(const Value& object, const Value& index) {
  if (object.is_undefined()) return undefined_error(object);
  if (object.dict() && index.string()) {
    const Value* found = object.dict()->find(*index.string());
    return found != nullptr ? *found : Value(Undefined{*index.string()});
  }
  if (!index.is_int() || (!object.list() && !object.string())) return Value(Undefined{to_text(index)});
  const List items = object.list() ? *object.list() : characters_of(*object.string());
  const int64_t place = index.integer() < 0 ? index.integer() + std::ssize(items) : index.integer();
  if (place < 0 || place >= std::ssize(items))
    return Value(Undefined{"item " + std::to_string(index.integer())});
  return items[static_cast<size_t>(place)];
}

Result<Value> slice_of(Interpreter& run, const Value& object, const Value (&bounds)[3]) {
  if (object.is_undefined()) return undefined_error(object);
  if (!object.list() && !object.string())
    return Error{std::string("a ") + object.type_name() + " has no slices"};
  for (const Value& bound : bounds) {
    if (!bound.is_none() && !bound.is_int()) return Error{"a slice's bounds must be whole numbers"};
  }
  // A step longer than any list is as good as that long, and does not overflow.
  constexpr int64_t kLongest = int64_t{1} << 40;
  const int64_t step = bounds[2].is_none() ? 1 : std::clamp(bounds[2].integer(), -kLongest, kLongest);
  if (step == 0) return Error{"a slice's step is 0"};
  const List items = object.list() ? *object.list() : characters_of(*object.string());
  RF_TRY_VOID(run.spend(items.size() * sizeof(Value)));
  List list;
  std::string text;
  for (const size_t place : slice_places(items.size(), bounds, step)) {
    if (object.list()) list.push_back(items[place]);
    if (object.string()) text += *items[place].string();
  }
  return object.list() ? Value(std::move(list)) : Value(std::move(text));
}

}  // namespace ringflash::jinja
