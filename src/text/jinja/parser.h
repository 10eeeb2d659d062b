// Jinja's grammar, as far as chat templates use it.
#pragma once

#include <string_view>

#include "text/jinja/ast.h"

namespace ringflash::jinja {

/// Errors give the line, and name what is not supported.
Result<Body> parse(std::string_view source);

}  // namespace ringflash::jinja
