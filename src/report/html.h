// Text inside the HTML pages that this program writes.
#pragma once

#include <string>
#include <string_view>

namespace ringflash {

/// Text fit for elements and attributes: &, <, >, " and ' replaced, and U+FFFD for control characters, which XML has
/// no place for.
std::string escape_html(std::string_view text);

}  // namespace ringflash
