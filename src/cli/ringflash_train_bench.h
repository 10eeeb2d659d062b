// `ringflash bench train`, a command of the training half.
#pragma once

#include <string>
#include <vector>

#include "bench/rounds.h"
#include "cli/common.h"

namespace ringflash::cli {

class BenchTrainCommand : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status run(const CommonOptions& common) override;

 private:
  std::vector<int64_t> widths_ = {1024, 2048};
  int64_t tokens_ = 1024, keep_ = 13, sequence_ = 4096;
  std::string preset_ = "small", what_ = "all";
  bench::RoundOptions rounds_{.rounds = 7, .limit_seconds = 120};
};

}  // namespace ringflash::cli
