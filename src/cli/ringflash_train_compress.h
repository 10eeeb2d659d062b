// `ringflash compress`, a command of the training half.
#pragma once

#include <string>

#include "cli/common.h"
#include "train/compress.h"

namespace ringflash::cli {

class CompressCommand : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  CompressRequest request_;
  std::string pattern_ = "fine";
  double sparsity_ = 0.8125;
  int64_t bits_ = 4;
};

}  // namespace ringflash::cli
