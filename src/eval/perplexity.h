// How well a model predicts a text: perplexity per token, and bits per byte, which tokenizers cannot distort.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "base/executor.h"
#include "runtime/model.h"

namespace ringflash {

struct PerplexityOptions {
  int64_t context = 0;   ///< tokens per window; 0: the model's max_position_embeddings
  int64_t overlap = -1;  ///< tokens a window repeats from the one before, unscored; -1: half the context
};

struct PerplexityReport {
  double nats = 0;     ///< summed over all scored tokens
  int64_t tokens = 0;  ///< scored: each token of the text exactly once
  int64_t correct = 0;  ///< of them those that were the model's first choice
  int64_t bytes = 0;   ///< of the text
  double seconds = 0;
  double perplexity() const;     ///< exp(nats / tokens)
  double bits_per_byte() const;  ///< nats / ln 2 / bytes
  double accuracy() const;       ///< correct / tokens
};

/// Slides a window of `context` tokens over BOS + text, `context - overlap` tokens at a time; every token is
/// scored by the first window that predicts it: -log softmax(logits)[token]. The first window starts with
/// BOS, the others with whatever token stands there. `progress`, if set, gets (tokens scored, tokens in all).
/// Errors: an empty text, a negative context, an overlap outside [0, context).
Result<PerplexityReport> evaluate_perplexity(const Model& model, Executor& executor, std::string_view text,
                                             const PerplexityOptions& options,
                                             const std::function<void(int64_t, int64_t)>& progress);

}  // namespace ringflash
