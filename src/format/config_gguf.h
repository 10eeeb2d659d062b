// The config as GGUF metadata: the standard keys with the prefix "ringflash.", and ours.
#pragma once

#include "format/gguf.h"
#include "model/config.h"

namespace ringflash {

void write_config(const ModelConfig& config, GgufWriter& writer);
Result<ModelConfig> read_config(const GgufFile& file);

}  // namespace ringflash
