#include "runtime/generate.h"

#include <limits>
#include <string>

#include "base/stopwatch.h"

namespace ringflash {
namespace {

double per_second(int64_t count, double seconds) {
  return count > 0 && seconds > 0 ? static_cast<double>(count) / seconds
                                  : std::numeric_limits<double>::quiet_NaN();
}

/// Appends ids and keeps the last position's logits.
Status append(Session& session, std::span<const int32_t> ids, std::vector<float>& logits) {
  const auto vocab_size = static_cast<size_t>(session.model().config().vocab_size);
  return session.append(ids, LogitsFor::kLast,
                        [&](int64_t, int64_t, const float* row) { logits.assign(row, row + vocab_size); });
}

/// The loop after the prompt; fills in the report.
Status decode(Session& session, const GenerateOptions& options, std::vector<int32_t> history,
              std::vector<float> logits, FunctionRef<bool(int32_t)> on_token, GenerateReport& report) {
  const Tokenizer& tokenizer = session.model().tokenizer();
  Sampler sampler(options.sampling);
  report.stop = StopReason::kMaxTokens;
  while (report.generated_tokens < options.max_tokens) {
    const int32_t id = sampler.sample(logits, history);
    if (!options.ignore_eos && tokenizer.is_end(id)) {
      report.stop = StopReason::kEndOfText;
      break;
    }
    history.push_back(id);
    ++report.generated_tokens;
    report.unread = id;
    if (!on_token(id)) {
      report.stop = StopReason::kCallback;
      break;
    }
    if (report.generated_tokens == options.max_tokens) break;
    if (session.position() == session.context()) {
      report.stop = StopReason::kContextFull;
      break;
    }
    RF_TRY_VOID(append(session, {&id, 1}, logits));
    report.unread.reset();
    ++report.decode_steps;
  }
  return {};
}

}  // namespace

std::string_view to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfText:
      return "end_of_text";
    case StopReason::kMaxTokens:
      return "max_tokens";
    case StopReason::kContextFull:
      return "context_full";
    case StopReason::kCallback:
      return "callback";
  }
  RF_UNREACHABLE();
}

double GenerateReport::prefill_tokens_per_s() const {
  return per_second(prompt_tokens, prefill_seconds);
}
double GenerateReport::decode_tokens_per_s() const {
  return per_second(decode_steps, decode_seconds);
}

Result<GenerateReport> generate(Session& session, std::span<const int32_t> prompt,
                                const GenerateOptions& options, FunctionRef<bool(int32_t id)> on_token) {
  RF_TRY_VOID(validate(options.sampling));
  if (options.max_tokens < 0) {
    return Error{"the number of tokens must be 0 or more, not " + std::to_string(options.max_tokens)};
  }
  if (prompt.empty()) return Error{"the prompt has no tokens to start from"};

  GenerateReport report;
  report.prompt_tokens = static_cast<int64_t>(prompt.size());
  std::vector<float> logits;
  const Stopwatch prefill;
  RF_TRY_VOID(append(session, prompt, logits));
  report.prefill_seconds = prefill.seconds();
  const Stopwatch decoding;
  RF_TRY_VOID(decode(session, options, {prompt.begin(), prompt.end()}, std::move(logits), on_token, report));
  report.decode_seconds = decoding.seconds();
  return report;
}

Result<GenerateReport> generate_text(Session& session, std::span<const int32_t> prompt,
                                     const GenerateOptions& options,
                                     FunctionRef<bool(std::string_view text)> on_text) {
  const Tokenizer& tokenizer = session.model().tokenizer();
  Utf8Stream stream;
  RF_TRY(const GenerateReport report,
         generate(session, prompt, options, [&](int32_t id) {
           const std::string text = stream.push(tokenizer.bytes(id));
           return text.empty() || on_text(text);
         }));
  if (report.stop != StopReason::kCallback) {
    if (const std::string rest = stream.finish(); !rest.empty()) on_text(rest);
  }
  return report;
}

Result<GenerateReport> generate_text(Session& session, std::string_view prompt, const GenerateOptions& options,
                                     FunctionRef<bool(std::string_view text)> on_text) {
  return generate_text(session, session.model().tokenizer().encode_prompt(prompt), options, on_text);
}

}  // namespace ringflash
