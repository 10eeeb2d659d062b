// `ringflash compress`, a command of the training half.
#pragma once

#include <string>
#include <vector>

#include "cli/common.h"
#include "cli/ringflash_train_compress_table.h"
#include "train/compress.h"

namespace ringflash::cli {

class CompressCommand : public Command {
 public:
  void add_options(CLI::App& app) override;
  Status check() const override;
  Status run(const CommonOptions& common) override;

 private:
  /// The request for one of the sparsities; several lie side by side in --out.
  Result<CompressRequest> request_for(double sparsity) const;
  Status run_one(const CommonOptions& common) const;
  Status run_table(const CommonOptions& common) const;
  /// Compresses and measures; adds a row, and another where it was healed.
  Status add_rows(double sparsity, const std::vector<EvalText>& texts, Executor& executor,
                  std::vector<TableRow>& rows) const;

  CompressRequest request_;
  std::string pattern_ = "fine";
  std::vector<double> sparsities_ = {0.8125};
  std::vector<std::string> eval_files_, settings_;
  int64_t bits_ = 4;
};

}  // namespace ringflash::cli
