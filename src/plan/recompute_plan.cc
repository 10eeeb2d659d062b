#include "plan/recompute_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>

#include "base/check.h"
#include "base/in_quotes.h"
#include "base/progress.h"

namespace ringflash {
namespace {

constexpr int64_t kSteps = 1000;  // that a budget is counted in

const RecomputeCost& cost(const LayerCosts& layer, Recompute level) { return layer[static_cast<size_t>(level)]; }

void add_up(const std::vector<LayerCosts>& layers, RecomputePlan& plan) {
  int64_t again = 0;
  plan.bytes = plan.bytes_of_everything = 0;
  plan.seconds = plan.seconds_of_everything = 0;
  for (size_t l = 0; l < layers.size(); ++l) {
    const RecomputeCost &all = cost(layers[l], Recompute::kNothing), &chosen = cost(layers[l], plan.levels[l]);
    plan.bytes += chosen.bytes;
    plan.seconds += chosen.seconds;
    plan.bytes_of_everything += all.bytes;
    plan.seconds_of_everything += all.seconds;
    again = std::max(again, all.bytes - chosen.bytes);
  }
  plan.bytes += again;
}

int64_t given_up(const LayerCosts& layer, size_t level) { return layer[0].bytes - layer[level].bytes; }

/// The levels of least time whose bytes are within `room`, each rounded up to a kSteps-th of it, and of which none gives
/// up more than `most`; empty if there are none.
std::vector<Recompute> best_levels(const std::vector<LayerCosts>& layers, int64_t room_bytes, int64_t most) {
  const double step = static_cast<double>(room_bytes) / kSteps;
  constexpr double kNever = std::numeric_limits<double>::infinity();
  const size_t widths = kSteps + 1;
  std::vector<double> time(widths, 0), next(widths);
  std::vector<std::vector<uint8_t>> choice(layers.size(), std::vector<uint8_t>(widths));
  for (size_t l = 0; l < layers.size(); ++l) {
    for (size_t room = 0; room < widths; ++room) {
      next[room] = kNever;
      for (size_t level = 0; level < kRecomputeLevels; ++level) {
        const double steps = std::ceil(static_cast<double>(layers[l][level].bytes) / step);
        if (steps > static_cast<double>(room) || given_up(layers[l], level) > most) continue;
        const double seconds = time[room - static_cast<size_t>(steps)] + layers[l][level].seconds;
        if (seconds >= next[room]) continue;
        next[room] = seconds;
        choice[l][room] = static_cast<uint8_t>(level);
      }
    }
    time.swap(next);
  }
  if (time[kSteps] == kNever) return {};
  std::vector<Recompute> levels(layers.size());
  size_t room = kSteps;
  for (size_t l = layers.size(); l-- > 0;) {
    const uint8_t level = choice[l][room];
    levels[l] = static_cast<Recompute>(level);
    room -= static_cast<size_t>(std::ceil(static_cast<double>(layers[l][level].bytes) / step));
  }
  return levels;
}

Recompute least(const LayerCosts& layer) {
  const auto smallest = std::min_element(layer.begin(), layer.end(), [](const RecomputeCost& a, const RecomputeCost& b) {
    return a.bytes < b.bytes;
  });
  return static_cast<Recompute>(smallest - layer.begin());
}

}  // namespace

std::string to_string(Recompute level) {
  switch (level) {
    case Recompute::kNothing:
      return "keep everything";
    case Recompute::kCheap:
      return "again: norms and gated product";
    case Recompute::kMlp:
      return "again: norms and the MLP inside";
    case Recompute::kAllButAttention:
      return "again: all but attention";
    case Recompute::kLayer:
      return "again: the whole layer";
  }
  RF_UNREACHABLE();
}

int64_t ActivationBudget::of(int64_t everything) const {
  return bytes ? *bytes : static_cast<int64_t>(share * static_cast<double>(everything));
}

namespace {

struct Amount {
  double number;
  std::string unit;
};

/// A number above 0 and what follows it.
std::optional<Amount> parse_amount(std::string_view text) {
  const std::string copy(text);
  char* end = nullptr;
  const double number = std::strtod(copy.c_str(), &end);
  if (end == copy.c_str() || !(number > 0)) return {};
  return Amount{number, end};
}

std::optional<int64_t> to_bytes(const Amount& amount) {
  constexpr std::string_view kUnits = "KMGT";
  double bytes = amount.number;
  if (!amount.unit.empty()) {
    const size_t power = kUnits.find(amount.unit[0]);
    if (amount.unit.size() > 1 || power == std::string_view::npos) return {};
    bytes *= std::pow(1024.0, static_cast<double>(power) + 1);
  }
  if (bytes >= 0x1p62) return {};
  return static_cast<int64_t>(bytes);
}

}  // namespace

Result<int64_t> parse_bytes(std::string_view text) {
  const std::optional<Amount> amount = parse_amount(text);
  if (const auto bytes = amount ? to_bytes(*amount) : std::nullopt) return *bytes;
  return Error{"expected bytes (as in 800M or 3G) above 0, found " + in_quotes(text)};
}

Result<ActivationBudget> parse_activation_budget(std::string_view text) {
  const Error wrong{"expected bytes (as in 800M or 3G) or a percentage (as in 40%) above 0, found " + in_quotes(text)};
  const std::optional<Amount> amount = parse_amount(text);
  if (!amount) return wrong;
  if (amount->unit == "%" && amount->number <= 100) return ActivationBudget{.bytes = {}, .share = amount->number / 100};
  const auto bytes = to_bytes(*amount);
  if (!bytes) return wrong;
  return ActivationBudget{.bytes = bytes, .share = 1};
}

RecomputePlan plan_recomputation(const std::vector<LayerCosts>& layers, const ActivationBudget& budget) {
  RecomputePlan plan;
  plan.levels.assign(layers.size(), Recompute::kNothing);
  add_up(layers, plan);
  const int64_t limit = budget.of(plan.bytes_of_everything);
  if (plan.bytes_of_everything <= limit) return plan;
  // What runs again needs room besides, as much as the layer that gives up most: each amount that may be is tried.
  std::set<int64_t> amounts;
  for (const LayerCosts& layer : layers) {
    for (size_t level = 1; level < kRecomputeLevels; ++level) amounts.insert(given_up(layer, level));
  }
  RecomputePlan best = plan;
  best.seconds = std::numeric_limits<double>::infinity();
  for (const int64_t amount : amounts) {
    if (amount >= limit) break;
    std::vector<Recompute> levels = best_levels(layers, limit - amount, amount);
    if (levels.empty()) continue;
    plan.levels = std::move(levels);
    add_up(layers, plan);
    if (plan.seconds < best.seconds) best = plan;
  }
  if (best.seconds < std::numeric_limits<double>::infinity()) return best;
  for (size_t l = 0; l < layers.size(); ++l) plan.levels[l] = least(layers[l]);
  add_up(layers, plan);
  plan.fits = plan.bytes <= limit;
  return plan;
}

std::string describe(const RecomputePlan& plan, const std::vector<LayerCosts>& layers) {
  std::string text = "activations     layers  kept a layer  forward and backward\n";
  char line[160];
  for (size_t begin = 0; begin < layers.size();) {
    size_t end = begin + 1;
    while (end < layers.size() && plan.levels[end] == plan.levels[begin]) ++end;
    const RecomputeCost& one = cost(layers[begin], plan.levels[begin]);
    std::snprintf(line, sizeof line, "%15s  %11sB  %17.1f ms  %s\n",
                  (std::to_string(begin) + " to " + std::to_string(end - 1)).c_str(),
                  format_count(static_cast<double>(one.bytes)).c_str(), 1e3 * one.seconds,
                  to_string(plan.levels[begin]).c_str());
    text += line;
    begin = end;
  }
  std::snprintf(line, sizeof line, "in all %sB instead of %sB (%.0f %%), layers take %.1f ms instead of %.1f (%+.1f %%)",
                format_count(static_cast<double>(plan.bytes)).c_str(),
                format_count(static_cast<double>(plan.bytes_of_everything)).c_str(),
                100.0 * static_cast<double>(plan.bytes) / static_cast<double>(std::max<int64_t>(1, plan.bytes_of_everything)),
                1e3 * plan.seconds, 1e3 * plan.seconds_of_everything,
                100 * (plan.seconds / plan.seconds_of_everything - 1));
  return text + line;
}

}  // namespace ringflash
