#include "cli/common.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cli/options.h"

namespace ringflash::cli {
namespace {

constexpr int kMostThreads = 1024;

}  // namespace

void add_common_options(CLI::App& app, CommonOptions& common) {
  app.add_flag("--json", common.json, "Print one JSON object on stdout, everything else on stderr");
  app.add_option("--threads", common.threads, "Threads to use; 0 means all processors")
      ->type_name("N")
      ->transform(whole_number(0, kMostThreads))
      ->capture_default_str();
}

Status write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return Error{std::string("stdout: cannot be written: ") + std::strerror(errno)};
  }
  return {};
}

Status write_json(const nlohmann::ordered_json& object) {
  constexpr auto kReplace = nlohmann::ordered_json::error_handler_t::replace;
  return write_stdout(object.dump(/*indent=*/2, ' ', /*ensure_ascii=*/false, kReplace) + "\n");
}

void print_error(std::string_view message) {
  std::fprintf(stderr, "ringflash: error: %.*s\n", static_cast<int>(message.size()), message.data());
}

std::string format_bytes(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  auto scaled = static_cast<double>(bytes);
  size_t unit = 0;
  while (scaled >= 999.95 && unit + 1 < std::size(kUnits)) {
    scaled /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", scaled, kUnits[unit]);
  return text;
}

}  // namespace ringflash::cli
