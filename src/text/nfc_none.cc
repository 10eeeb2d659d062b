#include "text/nfc.h"

// For builds without utf8proc.
namespace ringflash {

Status check_nfc() {
  return Error{"this build has no utf8proc, which tokenizers that want Unicode's form NFC need"};
}

std::string to_nfc(std::string_view) {
  RF_UNREACHABLE();
}

}  // namespace ringflash
