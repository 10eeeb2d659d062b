#include "bench/model_bench.h"

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "base/stopwatch.h"
#include "runtime/session.h"

namespace ringflash::bench {
namespace {

std::vector<int32_t> random_tokens(int64_t count, int64_t vocab_size) {
  Rng rng(7);
  std::vector<int32_t> ids(static_cast<size_t>(count));
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab_size)));
  return ids;
}

/// The last token's logits after `ids`, appended in pieces.
Result<std::vector<float>> logits_after(Session& session, std::span<const int32_t> ids, int64_t piece) {
  std::vector<float> last;
  const int64_t vocabulary = session.model().config().vocab_size;
  for (int64_t first = 0; first < std::ssize(ids); first += piece) {
    const auto count = static_cast<size_t>(std::min(piece, std::ssize(ids) - first));
    RF_TRY_VOID(session.append(
        ids.subspan(static_cast<size_t>(first), count), LogitsFor::kLast,
        [&](int64_t, int64_t, const float* logits) { last.assign(logits, logits + vocabulary); }));
  }
  return last;
}

Status check_pieces(const Model& model, Executor& executor) {
  constexpr int64_t kTokens = 40;
  const std::vector<int32_t> ids = random_tokens(kTokens, model.config().vocab_size);
  Session at_once(model, executor, kTokens), one_by_one(model, executor, kTokens);
  RF_TRY(const std::vector<float> whole, logits_after(at_once, ids, kTokens));
  RF_TRY(const std::vector<float> pieces, logits_after(one_by_one, ids, 1));
  for (const float logit : whole) {
    if (!std::isfinite(logit)) return Error{"a logit is not finite"};
  }
  if (std::memcmp(whole.data(), pieces.data(), whole.size() * sizeof(float)) == 0) return {};
  return Error{"a prompt read token by token gives other logits"};
}

struct Seconds {
  double prefill, decode;
};

Result<Seconds> run_once(const Model& model, int64_t prompt, int64_t tokens, Executor& executor) {
  const std::vector<int32_t> ids = random_tokens(prompt + tokens, model.config().vocab_size);
  const std::span all(ids);
  Session session(model, executor, prompt + tokens);
  Seconds seconds{};
  const Stopwatch reading;
  RF_TRY_VOID(logits_after(session, all.first(static_cast<size_t>(prompt)), prompt));
  seconds.prefill = reading.seconds();
  const Stopwatch writing;
  RF_TRY_VOID(logits_after(session, all.subspan(static_cast<size_t>(prompt)), 1));
  seconds.decode = writing.seconds();
  return seconds;
}

/// What was timed of one model, round by round.
struct Timings {
  Timing prefill, decode;
};

}  // namespace

Result<std::vector<ModelRow>> bench_models(const std::vector<NamedModel>& models, const ModelBenchOptions& options,
                                           Executor& executor, const std::function<void(std::string_view)>& remark) {
  for (const NamedModel& each : models) {
    if (const Status same = check_pieces(each.model, executor); !same) return same.error().in(each.name);
  }
  std::vector<ModelRow> rows;
  for (const int64_t prompt : options.prompts) {
    std::vector<Timings> timings(models.size());
    for (int round = 0; round < options.rounds.rounds; ++round) {
      remark(std::to_string(prompt) + " tokens, round " + std::to_string(round + 1));
      for (size_t i = 0; i < models.size(); ++i) {
        RF_TRY(const Seconds seconds, run_once(models[i].model, prompt, options.tokens, executor));
        timings[i].prefill.seconds.push_back(seconds.prefill);
        timings[i].decode.seconds.push_back(seconds.decode);
      }
    }
    for (size_t i = 0; i < models.size(); ++i) {
      rows.push_back({models[i].name, prompt, static_cast<double>(prompt) / *timings[i].prefill.median(),
                      static_cast<double>(options.tokens) / *timings[i].decode.median(),
                      *median_ratio(timings[0].prefill, timings[i].prefill),
                      *median_ratio(timings[0].decode, timings[i].decode)});
    }
  }
  return rows;
}

}  // namespace ringflash::bench
