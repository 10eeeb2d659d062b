// One sequence being read or written: the model's weights plus this sequence's cache.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/executor.h"
#include "runtime/model.h"

namespace ringflash {

enum class LogitsFor { kNone, kLast, kAll };

class Session {
 public:
  /// `model` and `executor` must outlive the session. `context` caps the positions: 0 means the model's
  /// max_position_embeddings.
  Session(const Model& model, Executor& executor, int64_t context = 0);
  ~Session();
  Session(Session&&) noexcept;

  /// Receives logits [count, vocab_size] of positions first .. first+count-1.
  using LogitsSink = FunctionRef<void(int64_t first, int64_t count, const float* logits)>;

  /// Appends tokens. Pieces of any size give the same result as one call, rounding aside
  /// (weights.h). Errors: an id outside the vocabulary; more tokens than the context holds (nothing is appended then).
  Status append(std::span<const int32_t> ids, LogitsFor wanted, LogitsSink sink);

  const Model& model() const;
  int64_t position() const;  ///< tokens appended so far
  int64_t context() const;
  int64_t cache_bytes() const;  ///< allocated for keys, values and pages

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ringflash
