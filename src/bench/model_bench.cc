#include "bench/model_bench.h"

#include <algorithm>
#include <cmath>

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

/// How far the logits of a prompt read at once are from those of it read token by token, relative to their size.
Result<double> piece_error(const Model& model, int64_t tokens, Executor& executor) {
  const std::vector<int32_t> ids = random_tokens(tokens, model.config().vocab_size);
  Session at_once(model, executor, tokens), one_by_one(model, executor, tokens);
  RF_TRY(const std::vector<float> whole, logits_after(at_once, ids, tokens));
  RF_TRY(const std::vector<float> pieces, logits_after(one_by_one, ids, 1));
  double difference = 0, size = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    difference += std::pow(double{whole[i]} - pieces[i], 2);
    size += std::pow(double{pieces[i]}, 2);
  }
  return std::sqrt(difference / size);
}

/// How many tokens give the same bits at once and one by one.
int64_t tokens_summed_alike(const Model& model) {
  const int64_t least = kernels::table().least_panel_tokens;
  const bool has_panels = least > 0 && std::ranges::any_of(model.file().tensors(), [](const GgufTensor& tensor) {
    return tensor.type == GgufType::kI8 || gguf_block_elements(tensor.type) > 1;
  });
  return has_panels ? least - 1 : 40;
}

/// Few tokens give the same bits at once and one by one. Many are summed in another order or multiplied in bf16, as the
/// table has it, one by one in 8 bits: each of 7 products a layer is off by 0.6 % (docs/numerics.md).
Status check_pieces(const Model& model, Executor& executor) {
  const double rounding = 0.006 * std::sqrt(7.0 * static_cast<double>(model.config().num_hidden_layers));
  for (const auto& [tokens, allowed] : {std::pair{tokens_summed_alike(model), 0.0}, {int64_t{200}, 2 * rounding}}) {
    RF_TRY(const double error, piece_error(model, tokens, executor));
    if (error <= allowed) continue;
    return Error{"a prompt of " + std::to_string(tokens) + " tokens read one by one gives other logits, off by " +
                 std::to_string(error) + " of their size"};
  }
  return {};
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
