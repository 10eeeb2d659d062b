#include "report/line_chart.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <span>

#include "base/progress.h"
#include "report/html.h"

namespace ringflash {
namespace {

constexpr double kLeft = 56, kRight = 14, kTop = 10, kBottom = 26;
constexpr double kTicks = 5;
constexpr size_t kMostMarks = 200;
/// Of the values' range, left free above and below them.
constexpr double kHeadroom = 0.04;
/// Values further apart than this are worth a logarithmic axis.
constexpr double kFarApart = 30;

template <typename... Arguments>
std::string print(const char* format, Arguments... arguments) {
  char text[256];
  std::snprintf(text, sizeof text, format, arguments...);
  return text;
}

/// One drawn point: the mean of a run of values, and how far they reach.
struct Point {
  double step, value, least, most;
};

std::vector<Point> thin(const Series& series) {
  std::vector<Point> points;
  const size_t count = series.values.size(), buckets = std::min(count, kMostPoints);
  for (size_t i = 0; i < buckets; ++i) {
    const size_t begin = i * count / buckets, end = (i + 1) * count / buckets;
    const std::span values(series.values.data() + begin, end - begin);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    double sum = 0;
    for (const double value : values) sum += value;
    points.push_back({series.steps[end - 1], sum / static_cast<double>(values.size()), *least, *most});
  }
  return points;
}

/// 1, 2 or 5 times a power of ten, so that about kTicks of them fit into `range`.
double tick_distance(double range) {
  const double rough = range / kTicks, power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

std::vector<double> ticks(double low, double high) {
  std::vector<double> at;
  const double distance = tick_distance(high - low);
  if (!(distance > 0)) return {low};
  const double first = std::ceil(low / distance - 1e-9) + 0.0;  // a plain 0 for -0
  for (double i = first; i * distance <= high + 1e-9 * distance && at.size() < 20; ++i) at.push_back(i * distance);
  return at;
}

std::vector<double> value_ticks(const ChartScale& scale) {
  if (!scale.log_scale) return ticks(scale.low, scale.high);
  std::vector<double> at;
  const double every = std::max(1.0, std::ceil((scale.high - scale.low) / kTicks));
  for (double power = std::ceil(scale.low - 1e-9); power <= scale.high + 1e-9; power += every) {
    at.push_back(std::pow(10.0, power));
  }
  return at;
}

std::string axes(const LineChart& chart, const ChartScale& scale) {
  std::string svg;
  for (const double value : value_ticks(scale)) {
    const double y = scale.y(value);
    svg += print("<path class=\"grid\" d=\"M%.1f %.1fH%.1f\"/>", scale.left, y, scale.right);
    svg += print("<text class=\"y\" x=\"%.1f\" y=\"%.1f\">", scale.left - 6, y + 3.5) +
           format_number(value, chart.style) + "</text>\n";
  }
  for (const double step : ticks(0, scale.last_step)) {
    svg += print("<text class=\"x\" x=\"%.1f\" y=\"%.1f\">", scale.x(step), scale.bottom + 17) +
           format_number(step, NumberStyle::kCount) + "</text>\n";
  }
  return svg + print("<path class=\"axis\" d=\"M%.1f %.1fH%.1f\"/>\n", scale.left, scale.bottom, scale.right);
}

std::string curve(const LineChart& chart, const ChartLine& line, const ChartScale& scale) {
  const std::vector<Point> points = thin(*line.series);
  std::string svg, path, band, dots;
  const bool thinned = points.size() < line.series->values.size();
  for (const Point& p : points) {
    path += print("%s%.1f,%.1f", path.empty() ? "" : " ", scale.x(p.step), scale.y(p.value));
    if (thinned) band += print("%.1f,%.1f ", scale.x(p.step), scale.y(p.most));
    if (!line.dots) continue;
    dots += print("<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\"><title>", line.color.c_str(), scale.x(p.step),
                  scale.y(p.value)) +
            escape_html(chart.before_step) + print("%.0f", p.step) + escape_html(chart.after_step) +
            print(": %.5g</title></circle>\n", p.value);
  }
  if (thinned) {
    for (auto p = points.rbegin(); p != points.rend(); ++p) {
      band += print("%.1f,%.1f ", scale.x(p->step), scale.y(p->least));
    }
    svg += "<polygon class=\"band " + line.color + "\" points=\"" + band + "\"/>\n";
  }
  return svg + "<polyline class=\"" + line.color + "\" points=\"" + path + "\"/>\n" + dots;
}

std::string skip_marks(const LineChart& chart, const ChartScale& scale) {
  std::string svg;
  const size_t count = std::min(chart.marks.size(), kMostMarks);
  for (const SkippedEvent& mark : std::span(chart.marks).last(count)) {
    svg += print("<path class=\"mark\" d=\"M%.1f %.1fv-9\"><title>after step %lld: ",
                 scale.x(static_cast<double>(mark.step)), scale.bottom, static_cast<long long>(mark.step)) +
           escape_html(mark.reason) + "</title></path>\n";
  }
  return svg;
}

std::string caption(const LineChart& chart) {
  std::string html = "<figcaption><b>" + escape_html(chart.title) + "</b>";
  for (const ChartLine& line : chart.lines) {
    if (line.series->empty()) continue;
    html += "<span><i class=\"key " + line.color + "\"></i>" + escape_html(line.name) + (line.name.empty() ? "" : " ") +
            "<em>" + format_number(line.series->values.back(), chart.style) + "</em></span>";
  }
  return html + "</figcaption>\n";
}

}  // namespace

std::string format_number(double value, NumberStyle style) {
  switch (style) {
    case NumberStyle::kPlain: return print("%.4g", value);
    case NumberStyle::kCount:
      return value < 1e4 ? print("%.0f", value) : value < 1e12 ? format_count(value) : print("%.4g", value);
    case NumberStyle::kBytes: return format_count(value) + "B";
    case NumberStyle::kPercent: return print("%.3g\u202f%%", 100 * value);
  }
  RF_UNREACHABLE();
}

double ChartScale::x(double step) const {
  return left + step / last_step * (right - left);
}

double ChartScale::y(double value) const {
  const double at = log_scale ? std::log10(value) : value;
  return bottom - (at - low) / (high - low) * (bottom - top);
}

ChartScale chart_scale(const LineChart& chart) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const ChartLine& line : chart.lines) {
    for (const double value : line.series->values) {
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (chart.from_zero) low = std::min(low, 0.0);
  const bool log_scale = chart.log_scale && low > 0 && high > kFarApart * low;
  if (log_scale) {
    low = std::floor(std::log10(low));
    high = std::ceil(std::log10(high));
  }
  if (!(high > low)) {  // a constant: in the middle
    const double room = low != 0 ? std::abs(low) / 2 : 1;
    high += room;
    if (!chart.from_zero || low < 0) low -= room;
  } else if (!log_scale) {
    const double room = kHeadroom * (high - low);
    high += room;
    if (!chart.from_zero || low < 0) low -= room;
  }
  return {.left = kLeft,
          .right = chart.width - kRight,
          .top = kTop,
          .bottom = chart.height - kBottom,
          .last_step = std::max(chart.last_step, 1.0),
          .low = low,
          .high = high,
          .log_scale = log_scale};
}

std::string line_chart_html(const LineChart& chart) {
  const auto empty = [](const ChartLine& line) { return line.series->empty(); };
  if (std::all_of(chart.lines.begin(), chart.lines.end(), empty)) return "";
  const ChartScale scale = chart_scale(chart);
  std::string html = "<figure>\n" + caption(chart) +
                     print("<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", chart.width, chart.height) +
                     escape_html(chart.title) + "\">\n" + axes(chart, scale);
  for (const ChartLine& line : chart.lines) {
    if (!line.series->empty()) html += curve(chart, line, scale);
  }
  return html + skip_marks(chart, scale) + "</svg>\n</figure>\n";
}

}  // namespace ringflash
