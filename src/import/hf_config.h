// The config.json of a Hugging Face model.
#pragma once

#include <string>
#include <string_view>

#include "model/config.h"

namespace ringflash {

struct HfConfig {
  std::string model_type;
  ModelConfig config;
  bool gemma = false;               ///< gains are stored as their difference from 1
  double query_pre_attn_scalar = 0;  ///< 0: head_dim's
};

/// `text` is the file's content. Errors name the key.
Result<HfConfig> read_hf_config(std::string_view text);

}  // namespace ringflash
