// Models as other programs save them, made from a config of ours and weights under our names.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "model/config.h"

namespace ringflash::testing {

using ForeignWeights = std::map<std::string, std::vector<float>>;

/// Values of every tensor of the inventory; gains are near 1.
ForeignWeights foreign_weights(const ModelConfig& config, uint64_t seed);

/// A GGUF file as llama.cpp's converter writes it, in F32. `change` is called last.
void write_foreign_gguf(const std::filesystem::path& path, const std::string& architecture, const ModelConfig& config,
                        const ForeignWeights& weights, const std::function<void(GgufWriter&)>& change = {});

/// config.json as transformers writes it.
nlohmann::json hf_config(const std::string& architecture, const ModelConfig& config);

/// A directory of config.json and F32 weights in `shards` files, with an index if there are several.
void write_hf_directory(const std::filesystem::path& directory, const nlohmann::json& config,
                        const ModelConfig& shapes, const ForeignWeights& weights, size_t shards = 1);

}  // namespace ringflash::testing
