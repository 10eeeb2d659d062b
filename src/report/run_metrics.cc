#include "report/run_metrics.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"

namespace ringflash {
namespace {

using Json = nlohmann::json;

struct NamedSeries {
  const char* key;
  Series RunMetrics::*series;
};
constexpr NamedSeries kSeries[] = {
    {"loss", &RunMetrics::loss},
    {"heldout_loss", &RunMetrics::heldout_loss},
    {"heldout_bits_per_byte", &RunMetrics::heldout_bits_per_byte},
    {"heldout_accuracy", &RunMetrics::heldout_accuracy},
    {"learning_rate", &RunMetrics::learning_rate},
    {"grad_norm", &RunMetrics::grad_norm},
    {"loss_scale", &RunMetrics::loss_scale},
    {"tokens_per_s", &RunMetrics::tokens_per_s},
    {"peak_memory", &RunMetrics::peak_memory},
    {"mask_kept_energy", &RunMetrics::kept_energy},
};

constexpr double kMaxValue = 1e30;  // beyond it, differences of what is drawn might overflow

std::optional<double> find_number(const Json& line, const char* key) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_number()) return std::nullopt;
  const double value = found->get<double>();
  return std::abs(value) <= kMaxValue ? std::optional(value) : std::nullopt;
}

/// 0 where it is missing or no number.
double number(const Json& line, const char* key) {
  return find_number(line, key).value_or(0);
}

void add_masks(const Json& line, double step, RunMetrics& metrics) {
  const double weights = number(line, "mask_weights");
  if (!(weights > 0)) return;
  metrics.sparsity.add(step, 1 - number(line, "mask_kept") / weights);
  metrics.churn.add(step, (number(line, "mask_regrown") + number(line, "mask_pruned")) / weights);
}

void add_line(const Json& line, RunMetrics& metrics) {
  const double step = number(line, "step");
  for (const NamedSeries& named : kSeries) {
    if (const auto value = find_number(line, named.key)) (metrics.*named.series).add(step, *value);
  }
  add_masks(line, step, metrics);
  if (const auto skipped = line.find("skipped"); skipped != line.end() && skipped->is_string()) {
    metrics.skipped.push_back({static_cast<int64_t>(step), skipped->get<std::string>()});
  }
  metrics.steps = std::max(metrics.steps, static_cast<int64_t>(step));
  metrics.tokens = std::max(metrics.tokens, static_cast<int64_t>(number(line, "tokens")));
  metrics.seconds = std::max(metrics.seconds, number(line, "seconds"));
}

/// A line of work, with counts that may be counts.
bool is_event(const Json& line) {
  constexpr double kMaxCount = 1e15;
  if (!line.is_object()) return false;
  const double step = find_number(line, "step").value_or(-1), tokens = number(line, "tokens");
  return step >= 0 && step <= kMaxCount && tokens >= 0 && tokens <= kMaxCount;
}

}  // namespace

RunMetrics parse_metrics(std::string_view text) {
  RunMetrics metrics;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) continue;
    const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (is_event(json)) {
      add_line(json, metrics);
    } else {
      ++metrics.unreadable_lines;
    }
  }
  return metrics;
}

Result<RunMetrics> read_metrics(const std::filesystem::path& run) {
  RF_TRY(const std::string text, read_file(run / "metrics.jsonl"));
  return parse_metrics(text);
}

}  // namespace ringflash
