// Runs a parsed template, within bounds on steps and memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/jinja/ast.h"

namespace ringflash::jinja {

class Interpreter {
 public:
  /// What the template prints. `globals` are its variables. Errors give the line; what raise_exception() was
  /// given is one of them. Templates from outside cannot run for ever: steps, text made and depth are
  /// bounded.
  Result<std::string> run(const Body& body, Dict globals);

  /// Counts text or list items made; an error once there are too many.
  Status spend(size_t bytes);

  /// A namespace that the template made. It may come to hold itself, so that run() has to take it apart.
  Value make_namespace(Dict variables);

 private:
  // A conversation of a thousand messages takes some fifty thousand steps and a few times its own size of
  // text.
  static constexpr int64_t kMaxSteps = 4'000'000;
  static constexpr int64_t kIterationSteps = 10;  // a loop's variables are made anew each time
  static constexpr size_t kMaxBytes = size_t{1} << 28;
  static constexpr int kMaxDepth = 1000;

  enum class Flow { kNormal, kBreak, kContinue };
  class Frame;

  Result<Flow> run_body(const Body& body);
  Result<Flow> run_statement(const Statement& statement);
  Result<Flow> run_for(const Statement& statement);
  Result<Flow> run_set(const Statement& statement);
  Status run_iteration(const Statement& statement, const List& items, size_t i, Flow& flow);
  Result<List> items_of_loop(const Statement& statement);
  Result<std::string> captured(const Body& body);
  Status assign(const std::vector<std::string>& names, const Value& value, int line);
  Status print(const std::string& text);
  Value define_macro(const Statement& statement);
  Result<Value> call_macro(const Statement& statement, const Arguments& arguments);

  Result<Value> evaluate(const Expression& e);
  Result<Value> evaluate_plain(const Expression& e);
  Result<Value> evaluate_collection(const Expression& e);
  Result<Value> evaluate_item(const Expression& e);
  Result<Value> evaluate_slice(const Expression& e);
  Result<Value> evaluate_call(const Expression& e);
  Result<Value> evaluate_filter(const Expression& e, const Value& value);
  Result<Value> evaluate_filters_of_block(const Expression& e, const Value& value);
  Result<Value> evaluate_test(const Expression& e);
  Result<Value> evaluate_binary(const Expression& e);
  Result<Value> evaluate_compare(const Expression& e);
  Result<Arguments> evaluate_arguments(const Expression& e);
  Value look_up(const std::string& name) const;

  std::vector<Dict>
      scopes_;  // built-in functions, globals, the template's own variables, then the innermost last
  List namespaces_;
  std::string* out_ = nullptr;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
  int depth_ = 0;
};

}  // namespace ringflash::jinja
