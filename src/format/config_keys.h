// Changing single keys of config.json, as --set does.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model/config.h"

namespace ringflash {

/// Changes keys all together, for one alone may not fit (window and stride). A value that is not JSON is taken as a
/// string, so that attention=full needs no quotes. `model` is left alone if the whole would not be valid.
Status set_config_keys(ModelConfig& model, const std::vector<std::pair<std::string, std::string>>& settings);

}  // namespace ringflash
