// Curves over the steps of a run, or over another quantity, as SVG.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "report/run_metrics.h"

namespace ringflash {

enum class NumberStyle { kPlain, kCount, kBytes, kPercent };

/// "2.35", "12.3k", "1.50GB", "81.2 %".
std::string format_number(double value, NumberStyle style);

struct ChartLine {
  std::string name;    ///< for the legend, where there are several
  const Series* series;
  std::string color;   ///< a CSS class: "one", "two"
  bool dots = false;   ///< a dot for each value, with a tooltip
};

struct LineChart {
  std::string title;
  std::vector<ChartLine> lines;
  NumberStyle style = NumberStyle::kPlain;
  bool from_zero = false;
  bool log_scale = false;             ///< where the values are positive and far apart, else it is left alone
  double last_step = 0;               ///< where the axis ends
  std::string before_step = "step ", after_step = "";  ///< what tooltips say around a step's number
  std::vector<SkippedEvent> marks;    ///< ticks on the axis, with tooltips
  int width = 480, height = 240;
};

/// Series longer than this are drawn as means of equal runs of steps, in front of a band from least to most.
inline constexpr size_t kMostPoints = 600;

/// Where values are drawn: x = left + step / last * (right - left), and y the same way up from bottom to top.
struct ChartScale {
  double left, right, top, bottom;  ///< of the plot, in the SVG's units
  double last_step, low, high;      ///< low and high: logarithms where log_scale is true
  bool log_scale;

  double x(double step) const;
  double y(double value) const;
};
ChartScale chart_scale(const LineChart& chart);

/// A <figure> with the title, the last values and an <svg>; empty where there are no values.
std::string line_chart_html(const LineChart& chart);

}  // namespace ringflash
