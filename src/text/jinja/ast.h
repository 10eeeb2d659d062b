// A parsed template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace ringflash::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kLiteral,      ///< literal
    kName,         ///< text
    kList,         ///< children
    kDict,         ///< children: key, value, key, value, ...
    kAttribute,    ///< children[0].text
    kItem,         ///< children[0][children[1]]
    kSlice,        ///< children[0][children[1]:children[2]:children[3]], each of which may be null
    kCall,         ///< children[0](children[1..], named)
    kFilter,       ///< children[0] | text(children[1..], named); without children[0] in a filter block
    kTest,         ///< children[0] is text(children[1..])
    kNot,          ///< not children[0]
    kNegate,       ///< -children[0]
    kBinary,       ///< children[0] text children[1]: arithmetic and "~"
    kAnd,          ///< children[0] and children[1]
    kOr,           ///< children[0] or children[1]
    kCompare,      ///< children[0] operators[0] children[1] operators[1] ...: "==", "in", "not in", ...
    kConditional,  ///< children[1] if children[0] else children[2], which may be null
  };
  Kind kind;
  int line;
  int depth = 1;  ///< of the tree below, itself included
  std::string text = {};
  Value literal = {};
  std::vector<ExpressionPtr> children = {};
  std::vector<std::pair<std::string, ExpressionPtr>> named = {};
  std::vector<std::string> operators = {};
};

struct Statement;
using Body = std::vector<Statement>;

struct Statement {
  enum class Kind {
    kText,         ///< text as it is
    kPrint,        ///< {{ value }}
    kIf,           ///< if value: body, else: otherwise
    kFor,          ///< for names in value if condition: body, else: otherwise
    kSet,          ///< set names = value; set names[0].names[1] = value where `attribute`
    kSetBlock,     ///< set names[0] to what the body prints, through the filters of value if it is there
    kMacro,        ///< macro text(names = defaults): body
    kFilterBlock,  ///< what the body prints, through the filters of value
    kScope,        ///< body: a tag that means nothing here, as transformers' "generation"
    kBreak,
    kContinue,
  };
  Kind kind;
  int line;
  std::string text = {};
  std::vector<std::string> names = {};
  bool attribute = false;
  ExpressionPtr value = {}, condition = {};
  std::vector<ExpressionPtr> defaults = {};  ///< one per name; null: none
  Body body = {}, otherwise = {};
};

}  // namespace ringflash::jinja
