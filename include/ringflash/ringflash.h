// Ringflash's C++ API: load a deployed model, generate text, or read logits. Needs C++20 and this header
// alone. Link with the runtime's libraries (examples/CMakeLists.txt).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ringflash::api {

/// What was wrong with a file, a prompt or an option, in one line for a person. The only exception thrown on
/// purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct GenerateOptions {
  int64_t max_tokens = 128;
  int64_t context = 0;              ///< most tokens, prompt included; 0: the model's own limit
  double temperature = 0.8;         ///< 0 picks the likeliest token
  int64_t top_k = 40;               ///< keep the k likeliest tokens; 0 keeps all
  double top_p = 0.95;              ///< keep the likeliest tokens that together reach this probability
  double repetition_penalty = 1.0;  ///< > 1 makes the last 64 tokens less likely
  uint64_t seed = 0;                ///< same seed, same text
  bool ignore_eos = false;          ///< go on after the model's end-of-text token
};

enum class StopReason { kEndOfText, kMaxTokens, kContextFull, kCallback };

struct Generation {
  std::string text;  ///< the continuation, valid UTF-8
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
  StopReason stop = StopReason::kMaxTokens;
};

/// A mapped model and its threads. Sessions and generate() calls of one model must not run at the same time.
class Model {
 public:
  /// Maps and checks a GGUF file. `threads`: 0 means one per processor. Throws Error.
  explicit Model(const std::filesystem::path& path, int threads = 0);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  int64_t vocab_size() const;
  int64_t context() const;  ///< positions the model was made for
  int32_t bos_id() const;
  int32_t eos_id() const;

  /// Ids of any bytes, without BOS; decode() is its inverse. decode() throws Error on an id outside the
  /// vocabulary.
  std::vector<int32_t> encode(std::string_view text) const;
  std::string decode(std::span<const int32_t> ids) const;

  /// Continues BOS + prompt. `on_text`, if set, gets each piece of the text as it comes and returns false to
  /// stop. Throws Error.
  Generation generate(std::string_view prompt, const GenerateOptions& options = {},
                      const std::function<bool(std::string_view piece)>& on_text = {});

 private:
  friend class Session;
  struct State;
  std::unique_ptr<State> state_;
};

/// One sequence being read or written, for callers who choose the tokens themselves.
class Session {
 public:
  /// `model` must outlive the session (it may be moved). `context`: as GenerateOptions has it.
  explicit Session(Model& model, int64_t context = 0);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  /// Appends ids (start with bos_id()) and returns the logits [vocab_size] of the token that follows the last
  /// one. Throws Error, and then has appended nothing: no ids, an id outside the vocabulary, a full context.
  std::vector<float> append(std::span<const int32_t> ids);

  int64_t position() const;  ///< tokens so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ringflash::api
