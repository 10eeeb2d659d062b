#include "bench/rounds.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/progress.h"

namespace ringflash::bench {
namespace {

constexpr double kWarmUpSeconds = 10;

int rounds_of(const Contestant& contestant, const RoundOptions& options) {
  if (options.limit_seconds <= 0 || contestant.estimate <= 0) return options.rounds;
  const double fit = std::floor(options.limit_seconds / contestant.estimate);
  return static_cast<int>(std::min<double>(options.rounds, fit));
}

}  // namespace

double median(std::vector<double> values) {
  RF_CHECK(!values.empty());
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::optional<double> Timing::median() const {
  if (seconds.empty()) return std::nullopt;
  return bench::median(seconds);
}

std::optional<double> median_ratio(const Timing& a, const Timing& b) {
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(a.seconds.size(), b.seconds.size()); ++i) {
    ratios.push_back(a.seconds[i] / b.seconds[i]);
  }
  if (ratios.empty()) return std::nullopt;
  return median(std::move(ratios));
}

Result<std::vector<Timing>> time_in_rounds(const std::vector<Contestant>& contestants, const RoundOptions& options,
                                           const std::function<void(int round)>& between) {
  std::vector<Timing> timings;
  std::vector<int> rounds;
  for (const Contestant& contestant : contestants) {
    Timing& timing = timings.emplace_back();
    timing.name = contestant.name;
    rounds.push_back(rounds_of(contestant, options));
    if (rounds.back() == 0) timing.skipped = "would take " + format_duration(contestant.estimate) + " or so";
    if (rounds.back() > 0 && contestant.estimate < kWarmUpSeconds) RF_TRY_VOID(contestant.run());
  }
  for (int round = 0; round < options.rounds; ++round) {
    between(round);
    for (size_t i = 0; i < contestants.size(); ++i) {
      if (round >= rounds[i]) continue;
      RF_TRY(const double seconds, contestants[i].run());
      timings[i].seconds.push_back(seconds);
    }
  }
  return timings;
}

}  // namespace ringflash::bench
