// Unicode's normalisation form C: composed characters, as the tokenizers of some models want their text.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ringflash {

/// An error where the build has no library for it.
Status check_nfc();

/// `text` in form C (Unicode Standard Annex 15, by utf8proc's tables), or as it is where it is not UTF-8. Needs check_nfc().
std::string to_nfc(std::string_view text);

}  // namespace ringflash
