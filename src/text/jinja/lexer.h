// A template's source as tokens, its whitespace already trimmed as transformers has Jinja do it (trim_blocks
// and lstrip_blocks on).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ringflash::jinja {

struct Token {
  enum class Kind {
    kText,       ///< outside tags
    kOpenPrint,  ///< {{
    kOpenBlock,  ///< {%
    kClose,      ///< }} or %}
    kName,
    kInteger,
    kFloat,
    kString,  ///< without quotes and escapes
    kOperator,
    kEnd,
  };
  Kind kind;
  std::string text;
  int line;
};

/// The last token is kEnd. Errors give the line.
Result<std::vector<Token>> tokenize(std::string_view source);

}  // namespace ringflash::jinja
