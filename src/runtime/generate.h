// Prompt in, tokens out: what `ringflash generate`, the server and the C++ API share.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/sampler.h"
#include "runtime/session.h"

namespace ringflash {

struct GenerateOptions {
  int64_t max_tokens = 128;
  SamplingOptions sampling;
  bool ignore_eos = false;
};

enum class StopReason { kEndOfText, kMaxTokens, kContextFull, kCallback };

struct GenerateReport {
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double prefill_seconds = 0, decode_seconds = 0;
  StopReason stop = StopReason::kMaxTokens;
};

/// Appends `prompt` ids to the session, then samples until EOS, max_tokens, a full context, or until `on_token`
/// returns false. `on_token` gets each new id (EOS not included).
Result<GenerateReport> generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options,
                                FunctionRef<bool(int32_t id)> on_token);

/// BOS plus the text's ids.
std::vector<int32_t> encode_prompt(const Model& model, std::string_view text);

}  // namespace ringflash
