// A tiny deployed model with known random weights, and the plain-double weights to compute with beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "format/gguf.h"
#include "model/config.h"
#include "text/vocabulary.h"

namespace ringflash::testing {

/// Four layers (ring, full, ring, ring), GQA of 4 heads on 2, stride 8, window 16, pages of 2, 2 sinks; byte
/// vocabulary. Widths are multiples of 32, as Q8_0 wants them.
ModelConfig tiny_ring_config();

/// Two layers as imports of "llama", "qwen2", "qwen3" and "gemma3" come out; the same vocabulary.
ModelConfig tiny_imported_config(const std::string& architecture);
inline constexpr const char* kImportedArchitectures[] = {"llama", "qwen2", "qwen3", "gemma3"};

struct TinyModelOptions {
  ModelConfig config = tiny_ring_config();
  GgufType matrices = GgufType::kF32;  ///< type of all but norms and routers: F32, BF16, Q8_0, Q4_0, Q4_1 or Q5_0
  uint64_t seed = 1;
  std::string leave_out = {};  ///< a tensor that the file shall lack
  std::string misshape = {};   ///< a tensor that gets one row more
  std::string mistype = {};    ///< a tensor stored as F16
};

/// "<unk>", "<s>", "</s>", the 256 bytes, then pieces "a", "aa", ... up to `size`.
Vocabulary byte_vocabulary(int64_t size);

/// The weights by name, exactly as the file stores them (rounded to its types).
using TinyWeights = std::map<std::string, std::vector<float>>;

/// Writes the model and returns what it holds. Aborts on failure: that is the test's own fault.
TinyWeights write_tiny_gguf(const std::filesystem::path& path, const TinyModelOptions& options);

}  // namespace ringflash::testing
