// Fair timing: in each round every contestant runs once, and ratios are taken within rounds, so that a machine that
// slows down slows all of them.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace ringflash::bench {

struct Contestant {
  std::string name;
  std::function<Result<double>()> run;  ///< runs once and returns the seconds it took
  double estimate = 0;                  ///< seconds of one run, guessed beforehand
};

struct RoundOptions {
  int rounds = 5;
  /// A contestant takes part in as many rounds as fit in these seconds by its estimate, but in one at least; it is
  /// left out where even one does not fit. 0: no limit.
  double limit_seconds = 60;
};

struct Timing {
  std::string name;
  std::vector<double> seconds;  ///< of rounds 0, 1, ...
  std::string skipped;          ///< why there are none

  /// Of the seconds; none where it was left out.
  std::optional<double> median() const;
};

/// Median over the rounds that both took part in of a's seconds / b's; none without such a round.
std::optional<double> median_ratio(const Timing& a, const Timing& b);

/// One Timing per contestant. Those whose estimate is below ten seconds run once more beforehand, to warm up.
/// `between` is called before each round; the first error of a contestant ends it all.
Result<std::vector<Timing>> time_in_rounds(const std::vector<Contestant>& contestants, const RoundOptions& options,
                                           const std::function<void(int round)>& between);

/// The middle one, or the mean of the middle two. At least one value.
double median(std::vector<double> values);

}  // namespace ringflash::bench
