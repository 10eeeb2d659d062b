// The part of the parser that reads what stands inside tags.
#pragma once

#include <initializer_list>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace ringflash::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

 protected:
  using Kind = Expression::Kind;

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& next();
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view text) const;
  bool accept_operator(std::string_view text);
  bool accept_name(std::string_view text);
  Status expect_operator(std::string_view text);
  Status expect_name(std::string_view text);
  Result<std::string> identifier();
  Error error(const std::string& what) const;
  /// What is found instead of something expected.
  Error unexpected(const std::string& expected) const;

  Result<ExpressionPtr> expression();  ///< with "a if b else c"
  Result<ExpressionPtr> disjunction();
  Result<ExpressionPtr> list_or_expression();  ///< "a, b" is a list
  Result<ExpressionPtr> filters(ExpressionPtr value);

 private:
  using Operand = Result<ExpressionPtr> (ExpressionParser::*)();

  ExpressionPtr make(Kind kind, std::string text = "") const;
  /// The same, now that its children are complete; an error where it is too deep to be walked by recursion.
  Result<ExpressionPtr> bounded(ExpressionPtr node) const;
  Result<ExpressionPtr> make_pair(Kind kind, std::string text, ExpressionPtr left, ExpressionPtr right) const;
  Result<ExpressionPtr> binary(Operand operand, std::initializer_list<std::string_view> operators);
  Result<ExpressionPtr> conjunction();
  Result<ExpressionPtr> negation();
  Result<ExpressionPtr> comparison();
  Result<ExpressionPtr> sum();
  Result<ExpressionPtr> concatenation();
  Result<ExpressionPtr> product();
  Result<ExpressionPtr> power();
  Result<ExpressionPtr> unary();
  Result<ExpressionPtr> unary_without_filters();
  Result<ExpressionPtr> postfix(ExpressionPtr value);
  Result<ExpressionPtr> primary();
  Result<ExpressionPtr> literal();
  Result<ExpressionPtr> named_value();
  Result<ExpressionPtr> sequence(std::string_view close, ExpressionPtr list);
  Result<ExpressionPtr> dict();
  Result<ExpressionPtr> subscript(ExpressionPtr value);
  Result<ExpressionPtr> test(ExpressionPtr value);
  Status arguments(Expression& call);
  std::string comparison_operator();

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace ringflash::jinja
