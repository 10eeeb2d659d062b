// A one-line progress bar on stderr: redrawn on a terminal, a line now and then in a log.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace ringflash {

class Progress {
 public:
  /// `label` stands before the bar; `total` is in whatever unit update() counts. Draws nothing when `quiet`.
  Progress(std::string label, int64_t total, bool quiet = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows `done` of the total, the time left at the pace so far, and `note` ("loss 3.21, 12.3k tok/s").
  /// Cheap to call often: it redraws at most ten times a second on a terminal and every ten seconds in a log.
  void update(int64_t done, std::string_view note = {});

  /// Draws the last state and ends the line. The destructor calls it.
  void finish();

 private:
  void draw();

  std::string label_, note_;
  int64_t total_, done_ = 0, first_ = -1;
  bool quiet_, terminal_, finished_ = false;
  std::chrono::steady_clock::time_point start_, last_draw_;
};

/// 75 -> "1m15s", 4000 -> "1h07m".
std::string format_duration(double seconds);

/// 12345 -> "12.3k", 4600000 -> "4.6M".
std::string format_count(double count);

}  // namespace ringflash
