#include "text/jinja/expression_parser.h"

#include <algorithm>
#include <charconv>

#include "base/in_quotes.h"

namespace ringflash::jinja {
namespace {

constexpr int kMaxNesting = 200;  // of brackets and the like
constexpr int kMaxDepth = 400;    // of the tree: chains of operators count too

/// Counts nesting while it lives.
struct Nesting {
  explicit Nesting(int& count) : depth(count) { ++depth; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  ~Nesting() { --depth; }
  int& depth;
};

}  // namespace

const Token& ExpressionParser::next() {
  const Token& token = peek();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool ExpressionParser::at_operator(std::string_view text) const {
  return peek().kind == Token::Kind::kOperator && peek().text == text;
}
bool ExpressionParser::at_name(std::string_view text) const {
  return peek().kind == Token::Kind::kName && peek().text == text;
}
bool ExpressionParser::accept_operator(std::string_view text) {
  const bool found = at_operator(text);
  if (found) next();
  return found;
}
bool ExpressionParser::accept_name(std::string_view text) {
  const bool found = at_name(text);
  if (found) next();
  return found;
}
Status ExpressionParser::expect_operator(std::string_view text) {
  if (accept_operator(text)) return {};
  return unexpected(in_quotes(text));
}
Status ExpressionParser::expect_name(std::string_view text) {
  if (accept_name(text)) return {};
  return unexpected(in_quotes(text));
}

Result<std::string> ExpressionParser::identifier() {
  if (peek().kind == Token::Kind::kName) return next().text;
  return unexpected("a name");
}

Error ExpressionParser::error(const std::string& what) const {
  return Error{"line " + std::to_string(peek().line) + ": " + what};
}

Error ExpressionParser::unexpected(const std::string& expected) const {
  switch (peek().kind) {
    case Token::Kind::kText:
    case Token::Kind::kEnd:
      return error("expected " + expected + ", found the end");
    case Token::Kind::kOpenPrint:
    case Token::Kind::kOpenBlock:
    case Token::Kind::kClose:
      return error("expected " + expected + ", found the tag's end");
    case Token::Kind::kName:
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
    case Token::Kind::kString:
    case Token::Kind::kOperator:
      return error("expected " + expected + ", found " + in_quotes(peek().text));
  }
  RF_UNREACHABLE();
}

ExpressionPtr ExpressionParser::make(Kind kind, std::string text) const {
  return std::make_unique<Expression>(Expression{.kind = kind, .line = peek().line, .text = std::move(text)});
}

Result<ExpressionPtr> ExpressionParser::bounded(ExpressionPtr node) const {
  int deepest = 0;
  for (const ExpressionPtr& child : node->children) deepest = std::max(deepest, child ? child->depth : 0);
  for (const auto& [name, value] : node->named) deepest = std::max(deepest, value->depth);
  node->depth = deepest + 1;
  if (node->depth > kMaxDepth) return error("nested too deeply");
  return node;
}

Result<ExpressionPtr> ExpressionParser::make_pair(Kind kind, std::string text, ExpressionPtr left,
                                                  ExpressionPtr right) const {
  ExpressionPtr both = make(kind, std::move(text));
  both->children.push_back(std::move(left));
  both->children.push_back(std::move(right));
  return bounded(std::move(both));
}

Result<ExpressionPtr> ExpressionParser::list_or_expression() {
  RF_TRY(ExpressionPtr first, expression());
  if (!at_operator(",")) return first;
  ExpressionPtr list = make(Kind::kList);
  list->children.push_back(std::move(first));
  while (accept_operator(",") && peek().kind != Token::Kind::kClose) {
    RF_TRY(ExpressionPtr item, expression());
    list->children.push_back(std::move(item));
  }
  return bounded(std::move(list));
}

Result<ExpressionPtr> ExpressionParser::expression() {
  const Nesting nesting(depth_);
  if (depth_ > kMaxNesting) return error("nested too deeply");
  RF_TRY(ExpressionPtr value, disjunction());
  while (accept_name("if")) {
    ExpressionPtr conditional = make(Kind::kConditional);
    RF_TRY(ExpressionPtr condition, disjunction());
    ExpressionPtr otherwise;
    if (accept_name("else")) {
      RF_TRY(otherwise, expression());
    }
    conditional->children.push_back(std::move(condition));
    conditional->children.push_back(std::move(value));
    conditional->children.push_back(std::move(otherwise));
    RF_TRY(value, bounded(std::move(conditional)));
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::disjunction() {
  RF_TRY(ExpressionPtr left, conjunction());
  while (accept_name("or")) {
    RF_TRY(ExpressionPtr right, conjunction());
    RF_TRY(left, make_pair(Kind::kOr, "", std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::conjunction() {
  RF_TRY(ExpressionPtr left, negation());
  while (accept_name("and")) {
    RF_TRY(ExpressionPtr right, negation());
    RF_TRY(left, make_pair(Kind::kAnd, "", std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::negation() {
  const Nesting nesting(depth_);
  if (depth_ > kMaxNesting) return error("nested too deeply");
  if (!accept_name("not")) return comparison();
  ExpressionPtr inverted = make(Kind::kNot);
  RF_TRY(ExpressionPtr value, negation());
  inverted->children.push_back(std::move(value));
  return bounded(std::move(inverted));
}

/// Takes one, or gives "".
std::string ExpressionParser::comparison_operator() {
  for (const std::string_view op : {"==", "!=", "<=", ">=", "<", ">"}) {
    if (accept_operator(op)) return std::string(op);
  }
  if (accept_name("in")) return "in";
  if (!at_name("not") || peek(1).kind != Token::Kind::kName || peek(1).text != "in") return "";
  next();
  next();
  return "not in";
}

Result<ExpressionPtr> ExpressionParser::comparison() {
  RF_TRY(ExpressionPtr left, sum());
  std::string op = comparison_operator();
  if (op.empty()) return left;
  ExpressionPtr compare = make(Kind::kCompare);
  compare->children.push_back(std::move(left));
  for (; !op.empty(); op = comparison_operator()) {
    RF_TRY(ExpressionPtr right, sum());
    compare->children.push_back(std::move(right));
    compare->operators.push_back(std::move(op));
  }
  return bounded(std::move(compare));
}

Result<ExpressionPtr> ExpressionParser::binary(Operand operand,
                                               std::initializer_list<std::string_view> operators) {
  RF_TRY(ExpressionPtr left, (this->*operand)());
  while (
      std::any_of(operators.begin(), operators.end(), [&](std::string_view op) { return at_operator(op); })) {
    std::string op = next().text;
    RF_TRY(ExpressionPtr right, (this->*operand)());
    RF_TRY(left, make_pair(Kind::kBinary, std::move(op), std::move(left), std::move(right)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::sum() {
  return binary(&ExpressionParser::concatenation, {"+", "-"});
}
Result<ExpressionPtr> ExpressionParser::concatenation() {
  return binary(&ExpressionParser::product, {"~"});
}
Result<ExpressionPtr> ExpressionParser::product() {
  return binary(&ExpressionParser::power, {"*", "/", "//", "%"});
}
Result<ExpressionPtr> ExpressionParser::power() {
  return binary(&ExpressionParser::unary, {"**"});
}

Result<ExpressionPtr> ExpressionParser::unary() {
  RF_TRY(ExpressionPtr value, unary_without_filters());
  return filters(std::move(value));
}

Result<ExpressionPtr> ExpressionParser::unary_without_filters() {
  const Nesting nesting(depth_);
  if (depth_ > kMaxNesting) return error("nested too deeply");
  if (accept_operator("+")) return unary_without_filters();
  if (accept_operator("-")) {
    ExpressionPtr negated = make(Kind::kNegate);
    RF_TRY(ExpressionPtr value, unary_without_filters());
    negated->children.push_back(std::move(value));
    return bounded(std::move(negated));
  }
  RF_TRY(ExpressionPtr value, primary());
  return postfix(std::move(value));
}

Result<ExpressionPtr> ExpressionParser::primary() {
  switch (peek().kind) {
    case Token::Kind::kString:
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return literal();
    case Token::Kind::kName:
      return named_value();
    case Token::Kind::kOperator:
      if (accept_operator("(")) {
        ExpressionPtr list = make(Kind::kList);
        if (accept_operator(")")) return list;
        RF_TRY(ExpressionPtr first, expression());
        if (accept_operator(")")) return first;
        list->children.push_back(std::move(first));
        RF_TRY_VOID(expect_operator(","));
        return sequence(")", std::move(list));
      }
      if (accept_operator("[")) return sequence("]", make(Kind::kList));
      if (accept_operator("{")) return dict();
      break;
    case Token::Kind::kText:
    case Token::Kind::kOpenPrint:
    case Token::Kind::kOpenBlock:
    case Token::Kind::kClose:
    case Token::Kind::kEnd:
      break;
  }
  return unexpected("a value");
}

Result<ExpressionPtr> ExpressionParser::literal() {
  ExpressionPtr value = make(Kind::kLiteral);
  if (peek().kind == Token::Kind::kString) {
    std::string text = next().text;
    while (peek().kind == Token::Kind::kString) text += next().text;  // adjacent ones are one, as in Python
    value->literal = Value(std::move(text));
    return value;
  }
  const Token& token = peek();
  const char* end = token.text.data() + token.text.size();
  int64_t integer = 0;
  double number = 0;
  const bool is_integer = token.kind == Token::Kind::kInteger;
  const auto parsed = is_integer ? std::from_chars(token.text.data(), end, integer)
                                 : std::from_chars(token.text.data(), end, number);
  if (parsed.ec != std::errc() || parsed.ptr != end)
    return error("a number out of range: " + in_quotes(token.text));
  value->literal = is_integer ? Value(integer) : Value(number);
  next();
  return value;
}

Result<ExpressionPtr> ExpressionParser::named_value() {
  const std::string name = next().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    ExpressionPtr value = make(Kind::kLiteral);
    value->literal = Value(name == "true" || name == "True");
    return value;
  }
  if (name == "none" || name == "None") return make(Kind::kLiteral);
  return make(Kind::kName, name);
}

/// What follows up to the closing bracket, behind what the list has already.
Result<ExpressionPtr> ExpressionParser::sequence(std::string_view close, ExpressionPtr list) {
  while (!accept_operator(close)) {
    RF_TRY(ExpressionPtr item, expression());
    list->children.push_back(std::move(item));
    if (!at_operator(close)) RF_TRY_VOID(expect_operator(","));
  }
  return bounded(std::move(list));
}

Result<ExpressionPtr> ExpressionParser::dict() {
  ExpressionPtr dict = make(Kind::kDict);
  while (!accept_operator("}")) {
    RF_TRY(ExpressionPtr key, expression());
    RF_TRY_VOID(expect_operator(":"));
    RF_TRY(ExpressionPtr value, expression());
    dict->children.push_back(std::move(key));
    dict->children.push_back(std::move(value));
    if (!at_operator("}")) RF_TRY_VOID(expect_operator(","));
  }
  return bounded(std::move(dict));
}

Result<ExpressionPtr> ExpressionParser::postfix(ExpressionPtr value) {
  while (true) {
    if (accept_operator(".")) {
      ExpressionPtr attribute = make(Kind::kAttribute);
      RF_TRY(attribute->text, identifier());
      attribute->children.push_back(std::move(value));
      RF_TRY(value, bounded(std::move(attribute)));
    } else if (accept_operator("[")) {
      RF_TRY(value, subscript(std::move(value)));
    } else if (at_operator("(")) {
      ExpressionPtr call = make(Kind::kCall);
      call->children.push_back(std::move(value));
      RF_TRY_VOID(arguments(*call));
      RF_TRY(value, bounded(std::move(call)));
    } else {
      return value;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::subscript(ExpressionPtr value) {
  ExpressionPtr item = make(Kind::kItem);
  item->children.push_back(std::move(value));
  size_t parts = 0;
  for (bool more = true; more && parts < 3; ++parts) {
    ExpressionPtr part;
    if (!at_operator(":") && !at_operator("]")) {
      RF_TRY(part, expression());
    }
    item->children.push_back(std::move(part));
    more = accept_operator(":");
    if (more) item->kind = Kind::kSlice;
  }
  if (item->kind == Kind::kItem && item->children[1] == nullptr) return unexpected("an index");
  if (item->kind == Kind::kSlice) item->children.resize(4);
  RF_TRY_VOID(expect_operator("]"));
  return bounded(std::move(item));
}

Status ExpressionParser::arguments(Expression& call) {
  RF_TRY_VOID(expect_operator("("));
  while (!accept_operator(")")) {
    const bool named =
        peek().kind == Token::Kind::kName && peek(1).kind == Token::Kind::kOperator && peek(1).text == "=";
    if (named) {
      std::string name = next().text;
      next();
      RF_TRY(ExpressionPtr value, expression());
      call.named.emplace_back(std::move(name), std::move(value));
    } else {
      RF_TRY(ExpressionPtr value, expression());
      call.children.push_back(std::move(value));
    }
    if (!at_operator(")")) RF_TRY_VOID(expect_operator(","));
  }
  return {};
}

Result<ExpressionPtr> ExpressionParser::filters(ExpressionPtr value) {
  while (true) {
    if (accept_operator("|")) {
      ExpressionPtr filter = make(Kind::kFilter);
      RF_TRY(filter->text, identifier());
      filter->children.push_back(std::move(value));
      if (at_operator("(")) RF_TRY_VOID(arguments(*filter));
      RF_TRY(value, bounded(std::move(filter)));
    } else if (accept_name("is")) {
      RF_TRY(value, test(std::move(value)));
    } else {
      return value;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::test(ExpressionPtr value) {
  const bool inverted = accept_name("not");
  ExpressionPtr test = make(Kind::kTest);
  RF_TRY(test->text, identifier());
  test->children.push_back(std::move(value));
  const Token& token = peek();
  const bool is_word = token.kind == Token::Kind::kName;
  const bool ends =
      is_word && (token.text == "else" || token.text == "or" || token.text == "and" || token.text == "is" ||
                  token.text == "if" || token.text == "not" || token.text == "in");
  if (at_operator("(")) {
    RF_TRY_VOID(arguments(*test));
  } else if ((is_word && !ends) || token.kind == Token::Kind::kString ||
             token.kind == Token::Kind::kInteger || token.kind == Token::Kind::kFloat || at_operator("[") ||
             at_operator("{")) {
    RF_TRY(ExpressionPtr argument, unary_without_filters());
    test->children.push_back(std::move(argument));
  }
  RF_TRY(test, bounded(std::move(test)));
  if (!inverted) return test;
  ExpressionPtr negated = make(Kind::kNot);
  negated->children.push_back(std::move(test));
  return bounded(std::move(negated));
}

}  // namespace ringflash::jinja
