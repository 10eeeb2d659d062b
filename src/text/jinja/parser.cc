#include "text/jinja/parser.h"

#include <algorithm>

#include "base/in_quotes.h"
#include "text/jinja/expression_parser.h"

namespace ringflash::jinja {
namespace {

constexpr int kMaxBlocks = 100;  // nested in each other
constexpr size_t kMaxSource = 1 << 20;

class Parser : private ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Result<Body> run() {
    Body body;
    RF_TRY_VOID(read_body({}, body));
    return body;
  }

 private:
  using Stop = std::initializer_list<std::string_view>;

  /// Statements up to one of the tags `stop`, of which the name is taken and the rest is still to be read;
  /// with none, up to the end.
  Status read_body(Stop stop, Body& body) {
    if (++blocks_ > kMaxBlocks) return error("blocks nested too deeply");
    while (true) {
      const Token& token = next();
      if (token.kind == Token::Kind::kEnd) {
        if (stop.size() > 0)
          return error("the template ends where " + in_quotes(*(stop.end() - 1)) + " is missing");
        break;
      }
      if (token.kind == Token::Kind::kText) {
        body.push_back({.kind = Statement::Kind::kText, .line = token.line, .text = token.text});
      } else if (token.kind == Token::Kind::kOpenPrint) {
        Statement print{.kind = Statement::Kind::kPrint, .line = token.line};
        RF_TRY(print.value, list_or_expression());
        RF_TRY_VOID(close());
        body.push_back(std::move(print));
      } else {
        RF_TRY(stopped_at_, identifier());
        if (std::find(stop.begin(), stop.end(), stopped_at_) != stop.end()) break;
        RF_TRY(Statement statement, block(stopped_at_, token.line));
        body.push_back(std::move(statement));
      }
    }
    --blocks_;
    return {};
  }

  Status close() {
    if (peek().kind != Token::Kind::kClose) return unexpected("the tag's end");
    next();
    return {};
  }

  Result<Statement> block(const std::string& name, int line) {
    if (name == "if") return read_if(line);
    if (name == "for") return read_for(line);
    if (name == "set") return read_set(line);
    if (name == "macro") return read_macro(line);
    if (name == "filter") return read_filter(line);
    if (name == "generation") return read_generation(line);
    if (name == "break" || name == "continue") {
      RF_TRY_VOID(close());
      return Statement{.kind = name == "break" ? Statement::Kind::kBreak : Statement::Kind::kContinue,
                       .line = line};
    }
    return Error{"line " + std::to_string(line) + ": the tag " + in_quotes(name) + " is not supported"};
  }

  Result<Statement> read_if(int line) {
    Statement statement{.kind = Statement::Kind::kIf, .line = line};
    RF_TRY(statement.value, expression());
    RF_TRY_VOID(close());
    RF_TRY_VOID(read_body({"elif", "else", "endif"}, statement.body));
    if (stopped_at_ == "elif") {
      // The chain is as deep as it is long.
      if (++blocks_ > kMaxBlocks) return error("blocks nested too deeply");
      RF_TRY(Statement inner, read_if(peek().line));
      --blocks_;
      statement.otherwise.push_back(std::move(inner));
      return statement;
    }
    RF_TRY_VOID(close());
    if (stopped_at_ == "endif") return statement;
    RF_TRY_VOID(read_body({"endif"}, statement.otherwise));
    RF_TRY_VOID(close());
    return statement;
  }

  Result<Statement> read_for(int line) {
    Statement statement{.kind = Statement::Kind::kFor, .line = line};
    RF_TRY(statement.names, names());
    RF_TRY_VOID(expect_name("in"));
    RF_TRY(statement.value, disjunction());
    if (accept_name("if")) {
      RF_TRY(statement.condition, expression());
    }
    if (at_name("recursive")) return error("recursive loops are not supported");
    RF_TRY_VOID(close());
    RF_TRY_VOID(read_body({"else", "endfor"}, statement.body));
    RF_TRY_VOID(close());
    if (stopped_at_ == "endfor") return statement;
    RF_TRY_VOID(read_body({"endfor"}, statement.otherwise));
    RF_TRY_VOID(close());
    return statement;
  }

  /// "a, b", also in parentheses.
  Result<std::vector<std::string>> names() {
    const bool enclosed = accept_operator("(");
    std::vector<std::string> found;
    do {
      RF_TRY(std::string name, identifier());
      found.push_back(std::move(name));
    } while (accept_operator(","));
    if (enclosed) RF_TRY_VOID(expect_operator(")"));
    return found;
  }

  Result<Statement> read_set(int line) {
    Statement statement{.kind = Statement::Kind::kSet, .line = line};
    RF_TRY(statement.names, names());
    if (statement.names.size() == 1 && accept_operator(".")) {
      statement.attribute = true;
      RF_TRY(std::string attribute, identifier());
      statement.names.push_back(std::move(attribute));
    }
    if (accept_operator("=")) {
      RF_TRY(statement.value, list_or_expression());
      RF_TRY_VOID(close());
      return statement;
    }
    if (statement.names.size() != 1) return unexpected("'='");
    statement.kind = Statement::Kind::kSetBlock;
    if (at_operator("|")) {
      RF_TRY(statement.value, filters_of_block(nullptr));
    }
    RF_TRY_VOID(close());
    RF_TRY_VOID(read_body({"endset"}, statement.body));
    RF_TRY_VOID(close());
    return statement;
  }

  Result<Statement> read_macro(int line) {
    Statement statement{.kind = Statement::Kind::kMacro, .line = line};
    RF_TRY(statement.text, identifier());
    RF_TRY_VOID(expect_operator("("));
    while (!accept_operator(")")) {
      RF_TRY(std::string name, identifier());
      statement.names.push_back(std::move(name));
      ExpressionPtr otherwise;
      if (accept_operator("=")) {
        RF_TRY(otherwise, expression());
      }
      statement.defaults.push_back(std::move(otherwise));
      if (!at_operator(")")) RF_TRY_VOID(expect_operator(","));
    }
    RF_TRY_VOID(close());
    RF_TRY_VOID(read_body({"endmacro"}, statement.body));
    accept_name(statement.text);  // {% endmacro name %}
    RF_TRY_VOID(close());
    return statement;
  }

  /// A chain of nothing but filters.
  Result<ExpressionPtr> filters_of_block(ExpressionPtr first) {
    RF_TRY(ExpressionPtr chain, filters(std::move(first)));
    for (const Expression* e = chain.get(); e != nullptr; e = e->children[0].get()) {
      if (e->kind != Kind::kFilter) return error("a block takes filters alone");
    }
    return chain;
  }

  Result<Statement> read_filter(int line) {
    Statement statement{.kind = Statement::Kind::kFilterBlock, .line = line};
    // "filter a | b" is what "| a | b" would be.
    auto first = std::make_unique<Expression>(Expression{.kind = Expression::Kind::kFilter, .line = line});
    RF_TRY(first->text, identifier());
    first->children.emplace_back();
    RF_TRY(statement.value, filters_of_block(std::move(first)));
    RF_TRY_VOID(close());
    RF_TRY_VOID(read_body({"endfilter"}, statement.body));
    RF_TRY_VOID(close());
    return statement;
  }

  Result<Statement> read_generation(int line) {
    Statement statement{.kind = Statement::Kind::kScope, .line = line};
    RF_TRY_VOID(close());
    RF_TRY_VOID(read_body({"endgeneration"}, statement.body));
    RF_TRY_VOID(close());
    return statement;
  }

  std::string stopped_at_;  // the tag that ended the last body
  int blocks_ = 0;
};

}  // namespace

Result<Body> parse(std::string_view source) {
  if (source.size() > kMaxSource) {
    return Error{"a template of " + std::to_string(source.size()) + " bytes, expected at most " +
                 std::to_string(kMaxSource)};
  }
  RF_TRY(std::vector<Token> tokens, tokenize(source));
  return Parser(std::move(tokens)).run();
}

}  // namespace ringflash::jinja
