// How much a text's prediction suffers when single layers attend to less.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "base/result.h"

namespace ringflash {

struct LayerHarm {
  int64_t layer;
  double bits_per_byte;  ///< with this layer alone a ring
};

struct HarmReport {
  double full_bits_per_byte = 0;  ///< with no ring at all
  std::vector<LayerHarm> layers;  ///< every ring layer of the model, in order
  /// The `count` layers that did most harm (all, if there are fewer), in order; ties go to the earlier one.
  std::vector<int64_t> worst(int64_t count) const;
};

/// Of the ring layers of a GGUF model whose weights were trained with full attention: scores the text, in windows of the
/// model's context, with all of them full, then with each of them a ring. Errors: a text of so few tokens
/// that a ring sees them all. `progress` gets (tokens done, tokens in all).
Result<HarmReport> measure_layer_harm(const std::filesystem::path& model_file, Executor& executor,
                                      std::string_view text,
                                      const std::function<void(int64_t, int64_t)>& progress);

}  // namespace ringflash
