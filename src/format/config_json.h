// config.json: Hugging Face's Llama keys and ours, to and from ModelConfig.
#pragma once

#include <string>
#include <string_view>

#include "model/config.h"

namespace ringflash {

/// Parses and validates. An unknown key, a wrong type and an impossible shape are errors that name the key.
/// Missing optional keys take ModelConfig's defaults (a Llama config without `attention` is all "full", head_dim
/// is hidden_size / num_attention_heads, window, stride and global_ratio are ring_preset's for the model's longest
/// sequence); missing required ones are errors.
/// Llama keys that do not change the arithmetic (torch_dtype, architectures, ...) are accepted and ignored.
/// max_position_embeddings is raised to `least_positions` if it is less, before that preset is chosen.
Result<ModelConfig> config_from_json(std::string_view text, int64_t least_positions = 0);

/// Pretty-printed, every key written, `model_type: "ringflash"`.
std::string config_to_json(const ModelConfig& config);

}  // namespace ringflash
