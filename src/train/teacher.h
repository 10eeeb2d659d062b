// The trained model that a run distils from.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "train/causal_lm.h"

namespace ringflash {

/// The newest checkpoint in `path`. An error where its vocabulary has another size than the model's.
Result<CausalLm> load_teacher(const std::filesystem::path& path, int64_t vocab_size);

/// Of names, shapes and values: tells a resumed run whether its teacher is still the same.
uint64_t hash_weights(const CausalLm& model);

}  // namespace ringflash
