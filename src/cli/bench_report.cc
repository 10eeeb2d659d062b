#include "cli/bench_report.h"

#include <algorithm>
#include <cstdio>

#include "bench/machine.h"
#include "kernels/kernels.h"

namespace ringflash::cli {
namespace {

constexpr int64_t kLongest = int64_t{1} << 24;  // of a sequence

std::string cell(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

std::string to_table(const std::vector<nlohmann::ordered_json>& rows) {
  std::vector<std::vector<std::string>> lines(1);
  for (const auto& [key, value] : rows.front().items()) lines.front().push_back(key);
  for (const nlohmann::ordered_json& row : rows) {
    std::vector<std::string>& line = lines.emplace_back();
    for (const auto& value : row) line.push_back(cell(value));
  }
  std::string text;
  for (const std::vector<std::string>& line : lines) {
    for (size_t column = 0; column < line.size(); ++column) {
      size_t width = 0;
      for (const auto& other : lines) width = std::max(width, other[column].size());
      const std::string padding(width - line[column].size(), ' ');
      text += column == 0 ? line[column] + padding : "  " + padding + line[column];
    }
    text += "\n";
  }
  return text;
}

}  // namespace

nlohmann::ordered_json describe_machine(int threads) {
  const bench::Machine machine = bench::this_machine();
  return {{"cpu", machine.cpu},
          {"cores", machine.cores},
          {"memory_bytes", machine.memory_bytes},
          {"isa", kernels::table().isa},
          {"threads", threads}};
}

nlohmann::ordered_json describe_peaks(const bench::PeakMeter& peak) {
  nlohmann::ordered_json peaks = nlohmann::ordered_json::object();
  for (const bench::Peak& each : peak.peaks()) peaks[each.instruction] = rounded(each.gflops);
  return peaks;
}

nlohmann::ordered_json rounded(std::optional<double> value) {
  if (!value) return nullptr;
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", *value);
  return std::strtod(text, nullptr);
}

Status write_report(const BenchReport& report, bool json) {
  if (!json) return write_stdout(to_table(report.rows));
  return write_json({{"command", report.command},
                     {"machine", report.machine},
                     {"commit", bench::kCommit},
                     {"checked", true},  // what is not is an error
                     {"settings", report.settings},
                     {"rows", report.rows}});
}

void remark(std::string_view text) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

void add_lengths(CLI::App& app, std::vector<int64_t>& lengths) {
  app.add_option("--n", lengths, "Lengths of the sequence, in tokens")
      ->type_name("N,N,...")
      ->delimiter(',')
      ->transform(whole_number(1, kLongest))
      ->capture_default_str();
}

void RingOptions::apply(RingGeometry& ring) const {
  ring.window = window.value_or(ring.window);
  ring.stride = stride.value_or(ring.stride);
  ring.global_ratio = global_ratio.value_or(ring.global_ratio);
  // A run that suits the usual stride may be too long for a short one.
  ring.top_pages_run = std::min(ring.top_pages_run, ring.stride);
}

void add_ring_options(CLI::App& app, RingOptions& options) {
  app.add_option("--window", options.window, "The ring's window")->type_name("N")->transform(whole_number(1));
  app.add_option("--stride", options.stride, "Tokens in a chunk")->type_name("N")->transform(whole_number(1));
  app.add_option("--global-ratio", options.global_ratio, "Share of a chunk that its page keeps")->type_name("X");
}

nlohmann::ordered_json to_json(const RingGeometry& ring) {
  return {{"window", ring.window},
          {"stride", ring.stride},
          {"global_ratio", ring.global_ratio},
          {"sink_tokens", ring.sink_tokens},
          {"global_rope", ring.global_rope},
          {"top_pages_factor", ring.top_pages_factor},
          {"top_pages_run", ring.top_pages_run}};
}

}  // namespace ringflash::cli
