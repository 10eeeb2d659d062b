#include "report/line_chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

namespace ringflash {
namespace {

Series series_of(const std::vector<double>& values) {
  Series series;
  for (size_t i = 0; i < values.size(); ++i) series.add(static_cast<double>(i), values[i]);
  return series;
}

LineChart chart_of(const Series& series) {
  return {.title = "t", .lines = {{"", &series, "one"}}, .last_step = series.steps.back(), .marks = {}};
}

/// The corners of the first <polyline>.
std::vector<std::pair<double, double>> polyline(const std::string& html) {
  const size_t begin = html.find("points=\"", html.find("<polyline")) + 8;
  std::istringstream text(html.substr(begin, html.find('"', begin) - begin));
  std::vector<std::pair<double, double>> points;
  char comma;
  for (double x, y; text >> x >> comma >> y;) points.emplace_back(x, y);
  return points;
}

TEST(LineChart, PointsLieWhereTheScaleHasThem) {
  const Series series = series_of({3, 1, 2.5, -4});
  const LineChart chart = chart_of(series);
  const ChartScale scale = chart_scale(chart);
  const auto points = polyline(line_chart_html(chart));
  ASSERT_EQ(points.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(points[i].first, scale.left + static_cast<double>(i) / 3 * (scale.right - scale.left), 0.06);
    // The value read back off the axis, to the tenth of a unit that coordinates are written with.
    const double unit = (scale.high - scale.low) / (scale.bottom - scale.top);
    EXPECT_NEAR(scale.low + (scale.bottom - points[i].second) * unit, series.values[i], 0.06 * unit);
  }
}

TEST(LineChart, LongSeriesBecomeMeansAndABand) {
  std::vector<double> values;
  for (int i = 0; i < 5000; ++i) values.push_back(i % 2 == 0 ? 1 : 3);
  const Series series = series_of(values);
  const LineChart chart = chart_of(series);
  const std::string html = line_chart_html(chart);
  const auto points = polyline(html);
  ASSERT_EQ(points.size(), kMostPoints);
  // Eight or nine values each, so the mean of ones and threes is within 1/9 of 2.
  const ChartScale scale = chart_scale(chart);
  for (const auto& [x, y] : points) {
    EXPECT_GT(y, scale.y(2.12));
    EXPECT_LT(y, scale.y(1.88));
  }
  EXPECT_NE(html.find("<polygon class=\"band one\""), std::string::npos);
}

TEST(LineChart, FarApartPositiveValuesGetALogarithmicAxis) {
  const Series far = series_of({0.1, 1000}), near = series_of({1, 2}), negative = series_of({-1, 1000});
  for (const Series* series : {&far, &near, &negative}) {
    LineChart chart = chart_of(*series);
    chart.log_scale = true;
    EXPECT_EQ(chart_scale(chart).log_scale, series == &far);
  }
}

TEST(LineChart, ConstantsAndExtremesAreDrawn) {
  for (const std::vector<double>& values :
       {std::vector<double>{0}, {5, 5, 5}, {-5}, {1e30, -1e30}, {1e-300, 2e-300}, {1e15, 1e15 + 1}}) {
    for (const bool from_zero : {false, true}) {
      const Series series = series_of(values);
      LineChart chart = chart_of(series);
      chart.from_zero = from_zero;
      const ChartScale scale = chart_scale(chart);
      for (const auto& [x, y] : polyline(line_chart_html(chart))) {
        EXPECT_TRUE(x >= scale.left - 0.06 && x <= scale.right + 0.06) << x;
        EXPECT_TRUE(y >= scale.top - 0.06 && y <= scale.bottom + 0.06) << y;
      }
    }
  }
}

TEST(LineChart, TooltipsSayWhatTheAxisIs) {
  const Series series = series_of({1, 2.5});
  LineChart chart = chart_of(series);
  chart.lines[0].dots = true;
  EXPECT_NE(line_chart_html(chart).find("<title>step 1: 2.5</title>"), std::string::npos);
  chart.before_step = "";
  chart.after_step = " <MB>";
  EXPECT_NE(line_chart_html(chart).find("<title>1 &lt;MB&gt;: 2.5</title>"), std::string::npos);
}

TEST(LineChart, NothingToDrawIsNoChart) {
  const Series none;
  EXPECT_EQ(line_chart_html({.title = "t", .lines = {{"", &none, "one"}}, .marks = {}}), "");
}

TEST(LineChart, NumbersReadWell) {
  EXPECT_EQ(format_number(2.34567, NumberStyle::kPlain), "2.346");
  EXPECT_EQ(format_number(9999, NumberStyle::kCount), "9999");
  EXPECT_EQ(format_number(12345, NumberStyle::kCount), "12.3k");
  EXPECT_EQ(format_number(0x1p64, NumberStyle::kCount), "1.845e+19");
  EXPECT_EQ(format_number(1.5e9, NumberStyle::kBytes), "1.50GB");
  EXPECT_EQ(format_number(0.8125, NumberStyle::kPercent), "81.2\u202f%");
}

}  // namespace
}  // namespace ringflash
