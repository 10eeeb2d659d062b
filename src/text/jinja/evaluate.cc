// The interpreter's expressions.
#include "base/in_quotes.h"
#include "text/jinja/builtins.h"
#include "text/jinja/interpreter.h"

namespace ringflash::jinja {
Result<Value> Interpreter::evaluate(const Expression& e) {
  if (depth_ >= kMaxDepth) return Error{"the template calls itself too deeply"};
  if (++steps_ > kMaxSteps) return Error{"the template takes too many steps"};
  ++depth_;
  Result<Value> value = evaluate_plain(e);
  --depth_;
  if (value || value.error().message.starts_with("line ")) return value;
  return value.error().in("line " + std::to_string(e.line));
}

Result<Value> Interpreter::evaluate_plain(const Expression& e) {
  using Kind = Expression::Kind;
  switch (e.kind) {
    case Kind::kLiteral:
      return e.literal;
    case Kind::kName:
      return look_up(e.text);
    case Kind::kList:
    case Kind::kDict:
      return evaluate_collection(e);
    case Kind::kAttribute:
    case Kind::kItem:
      return evaluate_item(e);
    case Kind::kSlice:
      return evaluate_slice(e);
    case Kind::kCall:
      return evaluate_call(e);
    case Kind::kFilter: {
      RF_TRY(const Value value, evaluate(*e.children[0]));
      return evaluate_filter(e, value);
    }
    case Kind::kTest:
      return evaluate_test(e);
    case Kind::kBinary:
      return evaluate_binary(e);
    case Kind::kCompare:
      return evaluate_compare(e);
    case Kind::kNot: {
      RF_TRY(const Value value, evaluate(*e.children[0]));
      return Value(!value.truthy());
    }
    case Kind::kNegate: {
      RF_TRY(const Value value, evaluate(*e.children[0]));
      return apply_operator(*this, "-", Value(int64_t{0}), value);
    }
    case Kind::kAnd:
    case Kind::kOr: {
      RF_TRY(Value left, evaluate(*e.children[0]));
      if (left.truthy() == (e.kind == Kind::kOr)) return left;
      return evaluate(*e.children[1]);
    }
    case Kind::kConditional: {
      RF_TRY(const Value condition, evaluate(*e.children[0]));
      if (condition.truthy()) return evaluate(*e.children[1]);
      if (e.children[2] == nullptr) return Value(Undefined{"the value of an if without else"});
      return evaluate(*e.children[2]);
    }
  }
  RF_UNREACHABLE();
}

Result<Value> Interpreter::evaluate_collection(const Expression& e) {
  List values;
  for (const ExpressionPtr& child : e.children) {
    RF_TRY(Value value, evaluate(*child));
    values.push_back(std::move(value));
  }
  if (e.kind == Expression::Kind::kList) return Value(std::move(values));
  Dict dict;
  for (size_t i = 0; i < values.size(); i += 2) dict.set(to_text(values[i]), values[i + 1]);
  return Value(std::move(dict));
}

Result<Value> Interpreter::evaluate_item(const Expression& e) {
  RF_TRY(const Value object, evaluate(*e.children[0]));
  if (e.kind == Expression::Kind::kAttribute) {
    if (object.is_undefined()) return undefined_error(object);
    const Value* found = object.dict() ? object.dict()->find(e.text) : nullptr;
    return found != nullptr ? *found : Value(Undefined{e.text});
  }
  RF_TRY(const Value index, evaluate(*e.children[1]));
  return item_of(object, index);
}

Result<Value> Interpreter::evaluate_slice(const Expression& e) {
  RF_TRY(const Value object, evaluate(*e.children[0]));
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (e.children[i + 1] == nullptr) continue;
    RF_TRY(bounds[i], evaluate(*e.children[i + 1]));
  }
  return slice_of(*this, object, bounds);
}

Result<Arguments> Interpreter::evaluate_arguments(const Expression& e) {
  Arguments arguments;
  for (size_t i = 1; i < e.children.size(); ++i) {
    RF_TRY(Value value, evaluate(*e.children[i]));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expression] : e.named) {
    RF_TRY(Value value, evaluate(*expression));
    arguments.named.emplace_back(name, std::move(value));
  }
  return arguments;
}

Result<Value> Interpreter::evaluate_call(const Expression& e) {
  const Expression& callee = *e.children[0];
  if (callee.kind == Expression::Kind::kAttribute) {
    RF_TRY(const Value object, evaluate(*callee.children[0]));
    RF_TRY(const Arguments arguments, evaluate_arguments(e));
    if (object.is_undefined()) return undefined_error(object);
    const Value* own = object.dict() ? object.dict()->find(callee.text) : nullptr;
    if (own != nullptr && own->function()) return (*own->function())(*this, arguments);
    return call_method(*this, object, callee.text, arguments);
  }
  RF_TRY(const Value function, evaluate(callee));
  RF_TRY(const Arguments arguments, evaluate_arguments(e));
  if (function.is_undefined()) return undefined_error(function);
  if (function.function() == nullptr)
    return Error{std::string("a ") + function.type_name() + " cannot be called"};
  return (*function.function())(*this, arguments);
}

Result<Value> Interpreter::evaluate_filter(const Expression& e, const Value& value) {
  RF_TRY(const Arguments arguments, evaluate_arguments(e));
  return apply_filter(*this, e.text, value, arguments);
}

/// The innermost filter of a block's chain has no value of its own: it takes what the block prints.
Result<Value> Interpreter::evaluate_filters_of_block(const Expression& e, const Value& value) {
  if (e.children[0] == nullptr) return evaluate_filter(e, value);
  RF_TRY(const Value input, evaluate_filters_of_block(*e.children[0], value));
  return evaluate_filter(e, input);
}

Result<Value> Interpreter::evaluate_test(const Expression& e) {
  RF_TRY(const Value value, evaluate(*e.children[0]));
  RF_TRY(const Arguments arguments, evaluate_arguments(e));
  RF_TRY(const bool result, apply_test(e.text, value, arguments));
  return Value(result);
}

Result<Value> Interpreter::evaluate_binary(const Expression& e) {
  RF_TRY(const Value left, evaluate(*e.children[0]));
  RF_TRY(const Value right, evaluate(*e.children[1]));
  return apply_operator(*this, e.text, left, right);
}

Result<Value> Interpreter::evaluate_compare(const Expression& e) {
  RF_TRY(Value left, evaluate(*e.children[0]));
  for (size_t i = 0; i < e.operators.size(); ++i) {
    RF_TRY(Value right, evaluate(*e.children[i + 1]));
    RF_TRY(const bool holds, compare(e.operators[i], left, right));
    if (!holds) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

}  // namespace ringflash::jinja
