#include "eval/needle_html.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/progress.h"
#include "eval/needle_text.h"
#include "report/html.h"

namespace ringflash {
namespace {

constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Needle test</title>
<style>
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --ink: #22262b; --soft: #667079; --line: #e3e5e6;
  --lost: #f6d9c6; --half: #f3ecd2; --found: #3f9c86; --on-found: #fff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181b; --ink: #e4e7e9; --soft: #98a2ab; --line: #2c3237;
    --lost: #6b3a24; --half: #4a452f; --found: #2f8f78; --on-found: #f2fffb;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; letter-spacing: -.01em; }
p { margin: 0; color: var(--soft); max-width: 46rem; }
.figures { display: flex; flex-wrap: wrap; gap: 2.5rem; margin: 1.75rem 0; }
.figures b { display: block; color: var(--ink); font-size: 2rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: .9rem; }
.map { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 3px; font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; padding-top: .75rem; color: var(--soft); font-size: .875rem; }
th { font-weight: 500; color: var(--soft); font-size: .875rem; padding: .2rem .6rem; white-space: nowrap; }
tbody th { text-align: right; }
td {
  min-width: 4.5rem; height: 2.4rem; padding: 0; border-radius: 5px; text-align: center; font-size: .9rem;
  background: color-mix(in oklab, var(--half) calc(200% * (1 - var(--a))), var(--found));
}
td.low { background: color-mix(in oklab, var(--half) calc(200% * var(--a)), var(--lost)); }
td.high { color: var(--on-found); }
td.near { box-shadow: inset 0 0 0 2px var(--soft); }
.key { display: inline-block; width: .9em; height: .9em; border-radius: 3px; vertical-align: -.08em; }
.key.near { box-shadow: inset 0 0 0 2px var(--soft); }
</style>
</head>
<body>
<main>
)";

std::string number(int64_t value) {
  std::string digits = std::to_string(value);
  for (auto at = std::ssize(digits) - 3; at > 0; at -= 3) digits.insert(static_cast<size_t>(at), "\u202f");
  return digits;
}

std::string percent(const NeedleCount& count) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f\u202f%%", 100 * count.accuracy());
  return count.samples > 0 ? text : "\u2013";
}

std::string figure(const NeedleCount& count, const std::string& label) {
  return "<div><b>" + percent(count) + "</b><span>" + label + " (" + number(count.found) + " of " +
         number(count.samples) + ")</span></div>\n";
}

std::string cell_html(const NeedleCell& cell) {
  const double a = cell.count.accuracy();
  std::string classes = a < 0.5 ? "low" : a > 0.8 ? "high" : "";
  if (!cell.beyond_window) classes += classes.empty() ? "near" : " near";
  char text[256];
  std::snprintf(text, sizeof text,
                "<td class=\"%s\" style=\"--a:%.4f\" title=\"%lld of %lld found\">%.0f</td>", classes.c_str(),
                a, static_cast<long long>(cell.count.found), static_cast<long long>(cell.count.samples),
                100 * a);
  return text;
}

/// Rows are depths and columns lengths, so that a column reads like the text: its beginning at the top.
std::string table(const NeedleReport& report) {
  std::string html = "<table>\n<thead><tr><th>depth \\ tokens</th>";
  for (const int64_t length : report.lengths) html += "<th>" + number(length) + "</th>";
  html += "</tr></thead>\n<tbody>\n";
  const size_t depths = report.depths.size();
  for (size_t depth = 0; depth < depths; ++depth) {
    html += "<tr><th>" + std::to_string(report.depths[depth]) + "\u202f%</th>";
    for (size_t i = depth; i < report.cells.size(); i += depths) html += cell_html(report.cells[i]);
    html += "</tr>\n";
  }
  return html + "</tbody>\n";
}

std::string describe(const NeedlePage& page) {
  const RingGeometry& ring = page.config.ring;
  char text[160];
  std::snprintf(text, sizeof text, "window %lld, stride %lld, %.3g\u202f%% of the tokens kept in reach",
                static_cast<long long>(ring.window), static_cast<long long>(ring.stride),
                100 * ring.global_ratio);
  return format_count(static_cast<double>(page.parameters)) + " parameters, " +
         std::to_string(page.config.num_hidden_layers) + " layers, " + text;
}

}  // namespace

std::string needle_html(const NeedleReport& report, const NeedlePage& page) {
  const Fact example{"KEY", "VALUE"};
  std::string html(kHead);
  html += "<h1>" + escape_html(page.model) + "</h1>\n<p>" + describe(page) + ". One fact, \u201c" +
          example.statement().substr(1) + "\u201d, stands in a long text, and is asked for at its end.</p>\n";
  html += "<div class=\"figures\">\n" + figure(report.total(), "found in all") +
          figure(report.beyond_window(), "beyond the window") + "</div>\n";
  html += "<div class=\"map\">" + table(report) +
          "<caption>Percent of the needles found. <i class=\"key near\"></i> The window reaches the fact; "
          "elsewhere it "
          "must have been kept.</caption>\n</table></div>\n";
  return html + "</main>\n</body>\n</html>\n";
}

}  // namespace ringflash
