// Prompt in, tokens out: what `ringflash generate`, the server and the C++ API share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/executor.h"
#include "runtime/sampler.h"
#include "runtime/session.h"

namespace ringflash {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling;
  bool ignore_eos = false;
};

enum class StopReason { kEndOfText, kMaxTokens, kContextFull, kCallback };

/// "end_of_text", "max_tokens", "context_full", "callback".
std::string_view to_string(StopReason reason);

struct GenerateReport {
  int64_t prompt_tokens = 0, generated_tokens = 0;
  int64_t decode_steps =
      0;  ///< forward passes after the prompt's; the first token comes from the prompt's own
  double prefill_seconds = 0, decode_seconds = 0;
  StopReason stop = StopReason::kMaxTokens;
  std::optional<int32_t> unread;  ///< the last id handed out, where the session has not read it

  /// Prompt tokens, or decode steps, per second; NaN where there were none.
  double prefill_tokens_per_s() const;
  double decode_tokens_per_s() const;
};

/// Appends `prompt` ids to the session, then samples until EOS or another id that ends a turn, max_tokens, a full context, or until
/// `on_token` returns false. `on_token` gets each new id (EOS not included, unless it is ignored). The last
/// id handed out may not be appended to the session: start the next prompt with `unread` to go on. The repetition
/// penalty looks at this prompt and its continuation. Errors: options out of range, an empty prompt, a prompt
/// that does not fit the rest of the context.
Result<GenerateReport> generate(Session& session, std::span<const int32_t> prompt,
                                const GenerateOptions& options, FunctionRef<bool(int32_t id)> on_token);

/// generate() for text: the prompt, encoded by Tokenizer::encode_prompt() if need be, in; out come pieces of valid UTF-8 as soon as their
/// characters are complete (never empty ones). `on_text` returns false to stop.
Result<GenerateReport> generate_text(Session& session, std::string_view prompt,
                                     const GenerateOptions& options,
                                     FunctionRef<bool(std::string_view text)> on_text);
Result<GenerateReport> generate_text(Session& session, std::span<const int32_t> prompt,
                                     const GenerateOptions& options,
                                     FunctionRef<bool(std::string_view text)> on_text);

}  // namespace ringflash
