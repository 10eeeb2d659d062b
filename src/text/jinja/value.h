// What a template computes with: Python's values, as far as chat templates use them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace ringflash::jinja {

class Value;
class Interpreter;

using List = std::vector<Value>;

/// In the order of insertion; keys are strings.
struct Dict {
  std::vector<std::pair<std::string, Value>> entries;
  bool is_namespace = false;  ///< its attributes can be set

  const Value* find(std::string_view key) const;
  void set(std::string_view key, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The argument at a place or of a name; null if it is not given.
  const Value* get(size_t place, std::string_view name) const;
};

using Function = std::function<Result<Value>(Interpreter&, const Arguments&)>;

struct Undefined {
  std::string name;  ///< what is missing, for error messages
};
struct None {};

/// Cheap to copy: strings are shared, and lists and dicts are references as in Python.
class Value {
 public:
  Value() : data_(None{}) {}
  Value(Undefined undefined) : data_(std::move(undefined)) {}
  Value(bool b) : data_(b) {}
  Value(int64_t i) : data_(i) {}
  Value(double d) : data_(d) {}
  Value(std::string s) : data_(std::make_shared<const std::string>(std::move(s))) {}
  Value(const char* s) : Value(std::string(s)) {}
  Value(List list) : data_(std::make_shared<List>(std::move(list))) {}
  Value(Dict dict) : data_(std::make_shared<Dict>(std::move(dict))) {}
  Value(Function function) : data_(std::make_shared<const Function>(std::move(function))) {}

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_number() const { return is_bool() || is_int() || is_float(); }

  /// Null where it is something else.
  const Undefined* undefined() const { return std::get_if<Undefined>(&data_); }
  const std::string* string() const;
  List* list() const;
  Dict* dict() const;
  const Function* function() const;

  /// Of a bool or an int; 0 otherwise.
  int64_t integer() const;
  /// Of any number; 0 otherwise.
  double number() const;
  bool truthy() const;

  /// "string", "list", ...
  const char* type_name() const;

 private:
  std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<List>, std::shared_ptr<Dict>, std::shared_ptr<const Function>>
      data_;
};

bool equal(const Value& a, const Value& b);

/// Python's str(): nothing for undefined values, repr() of what lists and dicts hold.
std::string to_text(const Value& value);

/// Python's json.dumps() without ASCII escapes; `indent` below 0: on one line. Errors: undefined values,
/// functions.
Result<std::string> to_json(const Value& value, int64_t indent);

}  // namespace ringflash::jinja
