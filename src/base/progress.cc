#include "base/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace ringflash {
namespace {

constexpr int kBarWidth = 24;

double seconds_between(std::chrono::steady_clock::time_point a, std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

std::string format_duration(double seconds) {
  char text[32];
  const auto s = static_cast<long>(std::max(0.0, seconds) + 0.5);
  if (s < 60) {
    std::snprintf(text, sizeof text, "%lds", s);
  } else if (s < 3600) {
    std::snprintf(text, sizeof text, "%ldm%02lds", s / 60, s % 60);
  } else {
    std::snprintf(text, sizeof text, "%ldh%02ldm", s / 3600, s % 3600 / 60);
  }
  return text;
}

std::string format_count(double count) {
  char text[32];
  if (count >= 1e9) {
    std::snprintf(text, sizeof text, "%.2fG", count / 1e9);
  } else if (count >= 1e6) {
    std::snprintf(text, sizeof text, "%.1fM", count / 1e6);
  } else if (count >= 1e3) {
    std::snprintf(text, sizeof text, "%.1fk", count / 1e3);
  } else {
    std::snprintf(text, sizeof text, "%.0f", count);
  }
  return text;
}

Progress::Progress(std::string label, int64_t total, bool quiet)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 1)),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()),
      last_draw_(start_) {}

Progress::~Progress() { finish(); }

void Progress::update(int64_t done, std::string_view note) {
  if (first_ < 0) first_ = done;  // a resumed run starts above zero: the pace counts from there
  done_ = done;
  note_ = note;
  const auto now = std::chrono::steady_clock::now();
  if (seconds_between(last_draw_, now) < (terminal_ ? 0.1 : 10.0)) return;
  last_draw_ = now;
  draw();
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (first_ < 0) return;
  draw();
  if (terminal_ && !quiet_) std::fputc('\n', stderr);
}

void Progress::draw() {
  if (quiet_) return;
  const double fraction = std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0);
  const int filled = static_cast<int>(fraction * kBarWidth);
  const double elapsed = seconds_between(start_, std::chrono::steady_clock::now());
  const double advanced = static_cast<double>(done_ - std::max<int64_t>(first_, 0));
  std::string time = format_duration(elapsed);
  if (done_ < total_ && advanced > 0) {
    time += ", " + format_duration(elapsed / advanced * static_cast<double>(total_ - done_)) + " left";
  }
  std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  std::fprintf(stderr, "%s%s [%s] %3.0f%% %s  %s%s", terminal_ ? "\r" : "", label_.c_str(), bar.c_str(),
               fraction * 100, time.c_str(), note_.c_str(), terminal_ ? "\x1b[K" : "\n");
  std::fflush(stderr);
}

}  // namespace ringflash
