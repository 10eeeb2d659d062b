// Named model shapes for `train --preset`.
#pragma once

#include <string>
#include <vector>

#include "model/config.h"

namespace ringflash {

struct Preset {
  std::string name;
  std::string description;
  ModelConfig config;
};

/// All presets, smallest first.
const std::vector<Preset>& presets();

/// The preset of that name; the error lists the names there are.
Result<ModelConfig> preset_config(const std::string& name);

/// Window, stride and global ratio for a sequence length: 512/256/5 % up to 8192 tokens, 1024/512/8 % beyond.
RingGeometry ring_preset(int64_t sequence_length);

}  // namespace ringflash
