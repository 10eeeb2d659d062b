// The config of a foreign GGUF file.
#pragma once

#include <optional>
#include <string>

#include "format/gguf.h"
#include "model/config.h"

namespace ringflash {

/// What the architecture's name says about a model and its file.
struct GgufArchitecture {
  const char* name;
  bool paired_rope;  ///< rows of q and k are in the order of rotations of neighbours (i, i + 1): llama.cpp's for Llama
  bool attention_bias, qk_norm;
  bool gemma;  ///< norms of outputs, GeGLU, scaled embedding, sliding layers
};

/// The error names the architectures there are.
Result<GgufArchitecture> gguf_architecture(const GgufFile& file);

/// Metadata under the architecture's prefix that this does not know are refused by name.
Result<ModelConfig> foreign_gguf_config(const GgufFile& file, const GgufArchitecture& architecture);

/// What Gemma 3 divides q . k by the root of.
double gemma_query_scalar(const ModelConfig& config);

inline constexpr const char* kRopeFactorsTensor = "rope_freqs.weight";

}  // namespace ringflash
