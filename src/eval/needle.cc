#include "eval/needle.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <string>

#include "base/stopwatch.h"
#include "eval/needle_prompt.h"
#include "runtime/generate.h"
#include "runtime/session.h"

namespace ringflash {
namespace {

constexpr int64_t kPieceTokens = 4096;  // read between two signs of progress
constexpr int64_t kLongestDefault = 131072;

Status check(const NeedleOptions& options, const ModelConfig& config) {
  for (const int64_t length : options.lengths) {
    if (length > config.max_position_embeddings) {
      return Error{"a length of " + std::to_string(length) + " tokens is beyond the model's context of " +
                   std::to_string(config.max_position_embeddings)};
    }
  }
  for (const int64_t depth : options.depths) {
    if (depth < 0 || depth > 100)
      return Error{"a depth is a percentage from 0 to 100, not " + std::to_string(depth)};
  }
  if (options.depths.empty()) return Error{"there are no depths to measure at"};
  if (options.samples < 1) return Error{"samples must be 1 or more, not " + std::to_string(options.samples)};
  return {};
}

/// Whether the token after the prompt can reach the fact only through global keys (or several layers'
/// windows).
bool is_beyond_window(const ModelConfig& config, const NeedlePrompt& prompt) {
  if (config.has_layers(AttentionKind::kFull)) return false;
  const int64_t last = std::ssize(prompt.ids) - 1;
  const RingGeometry& ring = config.ring;
  int64_t first_seen = last;
  if (config.has_layers(AttentionKind::kRing)) {
    first_seen = std::min(first_seen, (ring.chunk(last) - ring.band_chunks()) * ring.stride);
  }
  if (config.has_layers(AttentionKind::kSliding)) first_seen = std::min(first_seen, last + 1 - config.sliding_window);
  return prompt.fact_end <= first_seen;
}

/// What the model writes after the prompt, in as many tokens as the value has.
Result<std::string> answer(const Model& model, Executor& executor, const NeedlePrompt& prompt,
                           FunctionRef<void(int64_t)> on_read) {
  std::span<const int32_t> ids = prompt.ids;
  Session session(model, executor, std::ssize(ids) + prompt.answer_tokens);
  while (std::ssize(ids) > kPieceTokens) {
    RF_TRY_VOID(
        session.append(ids.first(kPieceTokens), LogitsFor::kNone, [](int64_t, int64_t, const float*) {}));
    ids = ids.subspan(kPieceTokens);
    on_read(kPieceTokens);
  }
  GenerateOptions options;
  options.max_tokens = prompt.answer_tokens;
  options.sampling.temperature = 0;
  std::string written;
  RF_TRY_VOID(generate(session, ids, options, [&](int32_t id) {
    written += model.tokenizer().bytes(id);
    return true;
  }));
  on_read(std::ssize(ids) + prompt.answer_tokens);
  return written;
}

NeedleCount sum(const std::vector<NeedleCell>& cells, FunctionRef<bool(const NeedleCell&)> counts) {
  NeedleCount sum;
  for (const NeedleCell& cell : cells) {
    if (!counts(cell)) continue;
    sum.samples += cell.count.samples;
    sum.found += cell.count.found;
  }
  return sum;
}

}  // namespace

double NeedleCount::accuracy() const {
  return samples > 0 ? static_cast<double>(found) / static_cast<double>(samples)
                     : std::numeric_limits<double>::quiet_NaN();
}

NeedleCount NeedleReport::total() const {
  return sum(cells, [](const NeedleCell&) { return true; });
}

NeedleCount NeedleReport::beyond_window() const {
  return sum(cells, [](const NeedleCell& cell) { return cell.beyond_window; });
}

std::vector<int64_t> default_lengths(const ModelConfig& config) {
  std::vector<int64_t> lengths;
  const int64_t longest = std::min(config.max_position_embeddings, kLongestDefault);
  for (int64_t length = 1024; length < longest; length *= 2) lengths.push_back(length);
  lengths.push_back(longest);
  return lengths;
}

bool is_needle_found(std::string_view written, std::string_view value) {
  const size_t start = written.find_first_not_of(" \t\r\n");
  return start != written.npos && written.substr(start).starts_with(value);
}

Result<NeedleReport> evaluate_needle(const Model& model, Executor& executor, std::string_view filler,
                                     const NeedleOptions& options,
                                     const std::function<void(int64_t, int64_t)>& progress) {
  RF_TRY_VOID(check(options, model.config()));
  const Stopwatch stopwatch;
  NeedleReport report{.lengths = options.lengths, .depths = options.depths, .cells = {}};
  if (report.lengths.empty()) report.lengths = default_lengths(model.config());
  const auto& lengths = report.lengths;
  const Haystack haystack(model.tokenizer(), filler, *std::max_element(lengths.begin(), lengths.end()));
  const int64_t tokens = std::accumulate(lengths.begin(), lengths.end(), int64_t{0}) *
                         std::ssize(report.depths) * options.samples;
  int64_t read = 0;
  const auto on_read = [&](int64_t count) {
    read += count;
    if (progress) progress(read, tokens);
  };
  for (const int64_t length : report.lengths) {
    for (const int64_t depth : report.depths) {
      NeedleCell cell{
          .length = length, .depth = depth, .count = {.samples = options.samples}, .beyond_window = true};
      for (int64_t sample = 0; sample < options.samples; ++sample) {
        Rng rng = needle_rng(options.seed, length, depth, sample);
        RF_TRY(const NeedlePrompt prompt,
               make_needle_prompt(model.tokenizer(), haystack, length, depth, rng));
        RF_TRY(const std::string written, answer(model, executor, prompt, on_read));
        cell.count.found += is_needle_found(written, prompt.fact.value) ? 1 : 0;
        cell.beyond_window = cell.beyond_window && is_beyond_window(model.config(), prompt);
      }
      report.cells.push_back(cell);
    }
  }
  report.seconds = stopwatch.seconds();
  return report;
}

}  // namespace ringflash
