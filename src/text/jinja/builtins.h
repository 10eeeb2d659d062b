// The filters, tests, methods and functions that templates may use, and what operators do.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/interpreter.h"

namespace ringflash::jinja {

/// value | name(arguments).
Result<Value> apply_filter(Interpreter& run, const std::string& name, const Value& value,
                           const Arguments& arguments);

/// value is name(arguments).
Result<bool> apply_test(const std::string& name, const Value& value, const Arguments& arguments);

/// object.name(arguments) of a string, list or dict.
Result<Value> call_method(Interpreter& run, const Value& object, const std::string& name,
                          const Arguments& arguments);

/// range, namespace, dict, raise_exception.
Dict builtin_functions();

/// + - * / // % ** ~.
Result<Value> apply_operator(Interpreter& run, std::string_view op, const Value& a, const Value& b);

/// == != < <= > >= in, not in.
Result<bool> compare(std::string_view op, const Value& a, const Value& b);

/// object[index]; an undefined value where there is no such item.
Result<Value> item_of(const Value& object, const Value& index);

/// object[start:stop:step]; none stands for a bound that is left out.
Result<Value> slice_of(Interpreter& run, const Value& object, const Value (&bounds)[3]);

/// What a loop goes over: items, keys or characters.
Result<List> items_of(const Value& value);

/// Python's str.strip() where `sides` is "lr", lstrip() "l", rstrip() "r"; of `characters`, or of white
/// space.
std::string stripped(const std::string& text, std::string_view sides, const std::string* characters);

/// The characters of a text.
List characters_of(const std::string& text);

Error undefined_error(const Value& value);

}  // namespace ringflash::jinja
