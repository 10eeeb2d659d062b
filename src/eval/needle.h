// The needle test: how often a model finds one fact in a long text, by the text's length and the fact's depth
// in it (after Kamradt's "Needle in a Haystack", 2023).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "runtime/model.h"

namespace ringflash {

struct NeedleOptions {
  std::vector<int64_t> lengths = {};  ///< tokens, question and answer included; empty: default_lengths()
  std::vector<int64_t> depths = {0, 25, 50, 75, 100};  ///< percent of the text before the fact
  int64_t samples = 4;                                 ///< prompts per length and depth
  uint64_t seed = 0;
};

struct NeedleCount {
  int64_t samples = 0, found = 0;
  double accuracy() const;  ///< found / samples; NaN without samples
};

struct NeedleCell {
  int64_t length = 0, depth = 0;
  NeedleCount count;
  bool beyond_window = false;  ///< in every sample, the fact had left the last token's window in every layer
};

struct NeedleReport {
  std::vector<int64_t> lengths, depths;
  std::vector<NeedleCell> cells;  ///< [lengths, depths]
  double seconds = 0;
  NeedleCount total() const;
  NeedleCount beyond_window() const;  ///< over those cells
};

/// 1024, 2048, ... below the model's context, and the context itself, or 131072 if that is less.
std::vector<int64_t> default_lengths(const ModelConfig& config);

/// Asks `samples` prompts of each cell and decodes greedily: the needle is found if what the model writes
/// starts with the value, white space aside. A prompt depends on the seed and its own cell, not on the rest
/// of the grid. The facts hide in `filler`, or in sentences of our own if it is empty. `progress`, if set,
/// gets (tokens read, tokens in all). Errors: a length that is too short, or beyond the model's context; a
/// depth outside 0..100; no samples.
Result<NeedleReport> evaluate_needle(const Model& model, Executor& executor, std::string_view filler,
                                     const NeedleOptions& options,
                                     const std::function<void(int64_t, int64_t)>& progress);

/// Whether text that a model wrote answers a question for `value`.
bool is_needle_found(std::string_view written, std::string_view value);

}  // namespace ringflash
