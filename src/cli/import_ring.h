// The options of `ringflash import --ring`, and the choice of the layers that stay full.
#pragma once

#include <CLI/CLI.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "eval/layer_harm.h"
#include "import/ring_conversion.h"

namespace ringflash::cli {

class RingOptions {
 public:
  void add_options(CLI::App& app);
  Status check() const;

  bool wanted() const { return wanted_; }

  /// What --ring asks for, having measured what must be measured: the report is empty where the layers were named.
  struct Chosen {
    RingConversion conversion;
    HarmReport harm;
  };
  Result<Chosen> choose(const std::filesystem::path& source, int threads) const;

 private:
  Result<HarmReport> measure(const std::filesystem::path& source, const RingGeometry& ring, int threads) const;

  bool wanted_ = false;
  RingGeometry ring_;
  std::string select_ = "all";
  std::string keep_full_, calibration_file_;
};

/// The harm as a table for a terminal, worst layer first.
std::string harm_table(const HarmReport& harm, const std::vector<int64_t>& keep_full);

}  // namespace ringflash::cli
