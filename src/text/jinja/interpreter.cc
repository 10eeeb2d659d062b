#include "text/jinja/interpreter.h"

#include "base/in_quotes.h"
#include "text/jinja/builtins.h"

namespace ringflash::jinja {
namespace {

Error at_line(int line, const Error& error) {
  return error.message.starts_with("line ") ? error : error.in("line " + std::to_string(line));
}

}  // namespace

/// Counts depth while it lives.
class Interpreter::Frame {
 public:
  explicit Frame(int& depth) : depth_(depth) { ++depth_; }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;
  ~Frame() { --depth_; }

 private:
  int& depth_;
};

Result<std::string> Interpreter::run(const Body& body, Dict globals) {
  scopes_.assign(1, builtin_functions());
  scopes_.push_back(std::move(globals));
  scopes_.emplace_back();
  std::string out;
  out_ = &out;
  const Result<Flow> flow = run_body(body);
  for (const Value& each : std::exchange(namespaces_, {})) each.dict()->entries.clear();
  if (!flow) return flow.error();
  return out;
}

Value Interpreter::make_namespace(Dict variables) {
  variables.is_namespace = true;
  return namespaces_.emplace_back(std::move(variables));
}

Status Interpreter::spend(size_t bytes) {
  bytes_ += bytes;
  if (bytes_ > kMaxBytes) return Error{"the template makes too much text"};
  return {};
}

Status Interpreter::print(const std::string& text) {
  RF_TRY_VOID(spend(text.size()));
  *out_ += text;
  return {};
}

Result<Interpreter::Flow> Interpreter::run_body(const Body& body) {
  for (const Statement& statement : body) {
    Result<Flow> flow = run_statement(statement);
    if (!flow) return at_line(statement.line, flow.error());
    if (*flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Result<Interpreter::Flow> Interpreter::run_statement(const Statement& statement) {
  const Frame frame(depth_);
  if (depth_ > kMaxDepth) return Error{"the template calls itself too deeply"};
  if (++steps_ > kMaxSteps) return Error{"the template takes too many steps"};
  switch (statement.kind) {
    case Statement::Kind::kText:
      RF_TRY_VOID(print(statement.text));
      return Flow::kNormal;
    case Statement::Kind::kPrint: {
      RF_TRY(const Value value, evaluate(*statement.value));
      RF_TRY_VOID(print(to_text(value)));
      return Flow::kNormal;
    }
    case Statement::Kind::kIf: {
      RF_TRY(const Value value, evaluate(*statement.value));
      return run_body(value.truthy() ? statement.body : statement.otherwise);
    }
    case Statement::Kind::kFor:
      return run_for(statement);
    case Statement::Kind::kSet:
    case Statement::Kind::kSetBlock:
      return run_set(statement);
    case Statement::Kind::kMacro:
      scopes_.back().set(statement.text, define_macro(statement));
      return Flow::kNormal;
    case Statement::Kind::kFilterBlock: {
      RF_TRY(std::string text, captured(statement.body));
      RF_TRY(const Value value, evaluate_filters_of_block(*statement.value, Value(std::move(text))));
      RF_TRY_VOID(print(to_text(value)));
      return Flow::kNormal;
    }
    case Statement::Kind::kScope:
      return run_body(statement.body);
    case Statement::Kind::kBreak:
      return Flow::kBreak;
    case Statement::Kind::kContinue:
      return Flow::kContinue;
  }
  RF_UNREACHABLE();
}

Result<std::string> Interpreter::captured(const Body& body) {
  std::string text;
  std::string* const outer = std::exchange(out_, &text);
  const Result<Flow> flow = run_body(body);
  out_ = outer;
  if (!flow) return flow.error();
  return text;
}

Result<List> Interpreter::items_of_loop(const Statement& statement) {
  RF_TRY(const Value value, evaluate(*statement.value));
  RF_TRY(List items, items_of(value));
  RF_TRY_VOID(spend(items.size() * sizeof(Value)));
  if (statement.condition == nullptr) return items;
  List kept;
  scopes_.emplace_back();
  for (const Value& item : items) {
    RF_TRY_VOID(assign(statement.names, item, statement.line));
    RF_TRY(const Value wanted, evaluate(*statement.condition));
    if (wanted.truthy()) kept.push_back(item);
  }
  scopes_.pop_back();
  return kept;
}

Result<Interpreter::Flow> Interpreter::run_for(const Statement& statement) {
  RF_TRY(const List items, items_of_loop(statement));
  if (items.empty()) return run_body(statement.otherwise);
  Flow flow = Flow::kNormal;
  for (size_t i = 0; i < items.size() && flow != Flow::kBreak; ++i) {
    RF_TRY_VOID(run_iteration(statement, items, i, flow));
  }
  return Flow::kNormal;
}

Status Interpreter::run_iteration(const Statement& statement, const List& items, size_t i, Flow& flow) {
  steps_ += kIterationSteps;
  const auto index = static_cast<int64_t>(i), length = static_cast<int64_t>(items.size());
  Dict loop;
  loop.entries = {{"index", Value(index + 1)},
                  {"index0", Value(index)},
                  {"first", Value(i == 0)},
                  {"last", Value(index + 1 == length)},
                  {"length", Value(length)},
                  {"revindex", Value(length - index)},
                  {"revindex0", Value(length - index - 1)},
                  {"previtem", i > 0 ? items[i - 1] : Value(Undefined{"loop.previtem"})},
                  {"nextitem", index + 1 < length ? items[i + 1] : Value(Undefined{"loop.nextitem"})}};
  scopes_.emplace_back();
  RF_TRY_VOID(assign(statement.names, items[i], statement.line));
  scopes_.back().set("loop", Value(std::move(loop)));
  RF_TRY(flow, run_body(statement.body));
  scopes_.pop_back();
  return {};
}

Status Interpreter::assign(const std::vector<std::string>& names, const Value& value, int line) {
  if (names.size() == 1) {
    scopes_.back().set(names[0], value);
    return {};
  }
  RF_TRY(const List items, items_of(value));
  if (items.size() != names.size()) {
    return Error{"line " + std::to_string(line) + ": expected " + std::to_string(names.size()) +
                 " values to assign, found " + std::to_string(items.size())};
  }
  for (size_t i = 0; i < names.size(); ++i) scopes_.back().set(names[i], items[i]);
  return {};
}

Result<Interpreter::Flow> Interpreter::run_set(const Statement& statement) {
  Value value;
  if (statement.kind == Statement::Kind::kSetBlock) {
    RF_TRY(std::string text, captured(statement.body));
    value = Value(std::move(text));
    if (statement.value != nullptr) {
      RF_TRY(value, evaluate_filters_of_block(*statement.value, value));
    }
  } else {
    RF_TRY(value, evaluate(*statement.value));
  }
  if (!statement.attribute) {
    RF_TRY_VOID(assign(statement.names, value, statement.line));
    return Flow::kNormal;
  }
  const Value target = look_up(statement.names[0]);
  if (target.dict() == nullptr || !target.dict()->is_namespace) {
    return Error{"attributes can be set of namespaces alone, and " + in_quotes(statement.names[0]) +
                 " is none"};
  }
  target.dict()->set(statement.names[1], value);
  return Flow::kNormal;
}

Value Interpreter::define_macro(const Statement& statement) {
  return Value(Function([&statement](Interpreter& run, const Arguments& arguments) {
    return run.call_macro(statement, arguments);
  }));
}

/// A macro sees the template's own variables and its arguments, not those of where it is called.
Result<Value> Interpreter::call_macro(const Statement& statement, const Arguments& arguments) {
  if (arguments.positional.size() > statement.names.size()) {
    return Error{"the macro " + in_quotes(statement.text) + " takes " +
                 std::to_string(statement.names.size()) + " arguments, found " +
                 std::to_string(arguments.positional.size())};
  }
  std::vector<Dict> inner(std::make_move_iterator(scopes_.begin() + 3),
                          std::make_move_iterator(scopes_.end()));
  scopes_.resize(3);
  scopes_.emplace_back();
  for (size_t i = 0; i < statement.names.size(); ++i) {
    Value value(Undefined{statement.names[i]});
    if (const Value* given = arguments.get(i, statement.names[i])) {
      value = *given;
    } else if (statement.defaults[i] != nullptr) {
      RF_TRY(value, evaluate(*statement.defaults[i]));
    }
    scopes_.back().set(statement.names[i], std::move(value));
  }
  RF_TRY(std::string text, captured(statement.body));
  scopes_.resize(3);
  scopes_.insert(scopes_.end(), std::make_move_iterator(inner.begin()), std::make_move_iterator(inner.end()));
  return Value(std::move(text));
}

Value Interpreter::look_up(const std::string& name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const Value* found = scope->find(name)) return *found;
  }
  return Value(Undefined{name});
}

}  // namespace ringflash::jinja
