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

/// For people: "window 512, stride 256, 13 tokens of a chunk global", and how pages are chosen if not all are read.
std::string ring_summary(const RingGeometry& ring);

/// Which of ring_preset's geometries has this window, stride and ratio: "up to 8192 tokens"; empty for none.
std::string ring_preset_name(const RingGeometry& ring);

}  // namespace ringflash
