#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "runtime/generate.h"
#include "runtime/session.h"

namespace ringflash {
namespace {

struct Windows {
  int64_t context, overlap;
};

Result<Windows> resolve(const PerplexityOptions& options, const ModelConfig& config) {
  if (options.context < 0) {
    return Error{"context must be 0 (the model's) or more, not " + std::to_string(options.context)};
  }
  const int64_t context = options.context > 0 ? options.context : config.max_position_embeddings;
  const int64_t overlap = options.overlap == -1 ? context / 2 : options.overlap;
  if (overlap < 0 || overlap >= context) {
    return Error{"overlap must be 0 or more and less than the context of " + std::to_string(context) +
                 " tokens, not " + std::to_string(overlap)};
  }
  return Windows{context, overlap};
}

struct Scored {
  double nats;
  bool correct;
};

/// -log softmax(logits)[target], in double, and whether no logit is higher than the target's.
Scored surprise(std::span<const float> logits, int32_t target) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - highest);
  const double own = logits[static_cast<size_t>(target)];
  return {highest + std::log(sum) - own, own == highest};
}

/// Appends ids, predicting targets[i] after ids[i]; adds their scores to the report.
Status score(Session& session, Executor& executor, std::span<const int32_t> ids, std::span<const int32_t> targets,
             PerplexityReport& report, FunctionRef<void(int64_t)> on_scored) {
  const auto vocab_size = static_cast<size_t>(session.model().config().vocab_size);
  const int64_t start = session.position();
  std::vector<Scored> scored(ids.size());
  RF_TRY_VOID(session.append(ids, LogitsFor::kAll, [&](int64_t first, int64_t count, const float* logits) {
    executor.for_each(count, [&](int64_t row) {
      const auto i = static_cast<size_t>(first - start + row);
      scored[i] = surprise({logits + static_cast<size_t>(row) * vocab_size, vocab_size}, targets[i]);
    });
    on_scored(count);
  }));
  for (const Scored& each : scored) {
    report.nats += each.nats;
    report.correct += each.correct;
  }
  return {};
}

}  // namespace

double PerplexityReport::perplexity() const {
  return std::exp(nats / static_cast<double>(tokens));
}

double PerplexityReport::bits_per_byte() const {
  return nats / std::numbers::ln2 / static_cast<double>(bytes);
}

double PerplexityReport::accuracy() const {
  return static_cast<double>(correct) / static_cast<double>(tokens);
}

Result<PerplexityReport> evaluate_perplexity(const Model& model, Executor& executor, std::string_view text,
                                             const PerplexityOptions& options,
                                             const std::function<void(int64_t, int64_t)>& progress) {
  RF_TRY(const Windows windows, resolve(options, model.config()));
  if (text.empty()) return Error{"the text is empty: there is nothing to score"};
  const Stopwatch stopwatch;
  const std::vector<int32_t> ids = model.tokenizer().encode_prompt(text, SpecialText::kPlain);
  if (ids.size() < 2) return Error{"the text is too short: it has no token that follows another"};
  const std::span<const int32_t> inputs(ids.data(), ids.size() - 1);
  const std::span<const int32_t> targets = std::span(ids).subspan(1);

  PerplexityReport report;
  // Without BOS nothing predicts the first token.
  report.bytes = static_cast<int64_t>(text.size() - model.tokenizer().bytes(ids.front()).size());
  const auto on_scored = [&](int64_t count) {
    report.tokens += count;
    if (progress) progress(report.tokens, static_cast<int64_t>(targets.size()));
  };
  const auto overlap = static_cast<size_t>(windows.overlap);
  size_t done = 0;  // inputs whose prediction is scored
  while (done < inputs.size()) {
    const size_t repeated = std::min(done, overlap);
    const size_t fresh = std::min(static_cast<size_t>(windows.context) - repeated, inputs.size() - done);
    Session session(model, executor, static_cast<int64_t>(repeated + fresh));
    if (repeated > 0) {
      RF_TRY_VOID(session.append(inputs.subspan(done - repeated, repeated), LogitsFor::kNone,
                                 [](int64_t, int64_t, const float*) {}));
    }
    RF_TRY_VOID(
        score(session, executor, inputs.subspan(done, fresh), targets.subspan(done, fresh), report, on_scored));
    done += fresh;
  }
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace ringflash
