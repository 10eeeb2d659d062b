// How a run's page looks.
#pragma once

#include <string_view>

namespace ringflash {

/// Up to the title.
inline constexpr std::string_view kPageHead = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<style>
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #fff; --ink: #22262b; --soft: #667079; --line: #e3e5e6;
  --one: #2f7fb8; --two: #d9822b; --mark: #c23b3b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15181b; --card: #1b1f23; --ink: #e4e7e9; --soft: #98a2ab; --line: #2c3237;
    --one: #6db3e2; --two: #f0a35a; --mark: #ef7d7d;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 2.5rem 1.25rem 3rem; }
h1 { margin: 0 0 .25rem; font-size: 1.6rem; letter-spacing: -.01em; overflow-wrap: anywhere; }
p { margin: 0; color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 1.25rem 2.5rem; margin: 1.75rem 0; }
.figures b { display: block; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.figures span { color: var(--soft); font-size: .9rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
.wide { grid-column: 1 / -1; }
figure { margin: 0; padding: .9rem 1rem .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; }
figcaption { display: flex; flex-wrap: wrap; gap: 0 1.25rem; padding-bottom: .4rem; font-size: .9rem; }
figcaption b { font-weight: 600; margin-right: auto; }
figcaption span { color: var(--soft); }
em { font-style: normal; color: var(--ink); font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: .9em; height: .2em; margin-right: .4em; vertical-align: .25em; border-radius: 1px; }
.key.one { background: var(--one); } .key.two { background: var(--two); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { fill: var(--soft); font-size: 11px; font-variant-numeric: tabular-nums; }
.y { text-anchor: end; } .x { text-anchor: middle; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
polyline { fill: none; stroke-width: 1.75; stroke-linejoin: round; stroke-linecap: round; }
polyline.one { stroke: var(--one); } polyline.two { stroke: var(--two); }
circle { stroke: var(--card); stroke-width: 1.5; }
circle.one { fill: var(--one); } circle.two { fill: var(--two); }
.band { opacity: .18; } .band.one { fill: var(--one); } .band.two { fill: var(--two); }
.mark { stroke: var(--mark); stroke-width: 2.5; }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2rem; }
details { margin-top: 1.75rem; } summary { font-weight: 600; cursor: pointer; }
table { width: 100%; margin-top: .5rem; border-collapse: collapse; font-size: .875rem;
  font-variant-numeric: tabular-nums; }
th { font-weight: 400; color: var(--soft); text-align: left; white-space: nowrap; }
th, td { padding: .2rem .75rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; }
</style>
)";

}  // namespace ringflash
