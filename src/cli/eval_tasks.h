// The tasks of `ringflash eval`, one file each.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/executor.h"
#include "cli/common.h"
#include "runtime/model.h"

namespace ringflash::cli {

/// What there is to measure, and with what.
struct EvalInput {
  std::string model_file;
  const Model& model;
  Executor& executor;
  std::string_view data;  ///< content of --data, empty without it
  bool json;
};

/// A thing to measure, with its own options; it prints its own report.
class EvalTask {
 public:
  virtual ~EvalTask() = default;
  virtual std::string name() const = 0;
  virtual std::string summary() const = 0;
  virtual bool needs_data() const = 0;
  /// `options` is a group of the command's options; those of the other tasks must not be given.
  virtual void add_options(CLI::App& options) = 0;
  virtual Status run(const EvalInput& input) = 0;
};

std::unique_ptr<EvalTask> make_perplexity_task();
std::unique_ptr<EvalTask> make_needle_task();

}  // namespace ringflash::cli
